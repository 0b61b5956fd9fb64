"""The load: as many TCP sockets as wanted, in the states of a busy host, and kept so from round to round."""

from __future__ import annotations

import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Final, NamedTuple, Self

from .census import take_census

WORKER: Final = Path(__file__).with_name("worker.py")

CHURN: Final = 0.05
"""The share of sockets replaced between two measurements."""

_FEWEST_WORKERS: Final = 4
_DESCRIPTORS_EACH: Final = 15_000
_PATIENCE: Final = 10.0


class Wanted(NamedTuple):
    """How many there are to be in each state."""

    established: int
    time_wait: int
    close_wait: int

    @classmethod
    def of(cls, sockets: int) -> Wanted:
        """Half in TIME_WAIT, 2 % in CLOSE_WAIT, as many at their other ends in FIN_WAIT2, the rest
        established."""
        close_wait = sockets // 50
        return cls(sockets // 2 - 2 * close_wait, sockets // 2, close_wait)

    @property
    def workers(self) -> int:
        descriptors = self.established + self.close_wait
        return max(_FEWEST_WORKERS, -(-descriptors // _DESCRIPTORS_EACH))


class Load:
    """Sockets held by processes of their own, as a context manager.

    A worker that loses its input ends, so none outlives this process, even if that is killed.
    """

    def __init__(self, sockets: int) -> None:
        self._wanted = Wanted.of(sockets)
        self._workers: list[subprocess.Popen[str]] = []

    def __enter__(self) -> Self:
        try:
            self._build()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def refresh(self) -> None:
        """As many sockets in TIME_WAIT as wanted, of which none leaves it in the next 25 s."""
        self._all_obey("refresh")
        self._top_up(0)

    def replace(self, share: float = CHURN) -> None:
        """Closes that share of all sockets and opens others, in TIME_WAIT that share too, and as many as it
        takes to have the number that is wanted."""
        self._all_obey(f"replace {share}")
        self._top_up(int(self._wanted.time_wait * share))

    def descriptors(self) -> int:
        """How many descriptors the workers have open."""
        return sum(self._all_obey("count"))

    def _build(self) -> None:
        self._workers += [_start(number) for number in range(1, self._wanted.workers + 1)]
        pairs = self._shares(self._wanted.established // 2)
        close_wait = self._shares(self._wanted.close_wait)
        self._obey([f"open {ours} {half}" for ours, half in zip(pairs, close_wait, strict=True)])
        self._top_up(0)

    def _top_up(self, fewest: int) -> None:
        """At least so many new sockets in TIME_WAIT, and the oldest ended that are then too many."""
        there = take_census()["time_wait"]
        new = max(fewest, self._wanted.time_wait - there)
        old = max(0, there + new - self._wanted.time_wait)
        both = zip(self._shares(new), self._shares(old), strict=True)
        self._obey([f"time_wait {ours} {ended}" for ours, ended in both])

    def _shares(self, number: int) -> list[int]:
        """A number in as many parts as there are workers."""
        each, rest = divmod(number, len(self._workers))
        return [each + (i < rest) for i in range(len(self._workers))]

    def _all_obey(self, command: str) -> list[int]:
        return self._obey([command] * len(self._workers))

    def _obey(self, commands: list[str]) -> list[int]:
        """A command for each worker, all at work at once; what they answer."""
        for worker, command in zip(self._workers, commands, strict=True):
            print(command, file=worker.stdin, flush=True)
        return [_answer(worker) for worker in self._workers]

    def _end(self) -> None:
        for worker in self._workers:
            assert worker.stdin is not None
            with suppress(OSError):
                worker.stdin.close()
        for worker in self._workers:
            try:
                worker.wait(_PATIENCE)
            except subprocess.TimeoutExpired:
                worker.kill()
                worker.wait()
            assert worker.stdout is not None
            worker.stdout.close()
        self._workers.clear()


def _start(number: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-I", str(WORKER), str(number)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        process_group=0,  # Ctrl-C is for us, who end them
    )


def _answer(worker: subprocess.Popen[str]) -> int:
    assert worker.stdout is not None
    line = worker.stdout.readline()
    if not line:
        raise RuntimeError("a process of the load failed: see its message above")
    return int(line)
