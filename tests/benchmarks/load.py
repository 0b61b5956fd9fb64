"""The load: a given number of TCP sockets in the states of a busy host, kept constant between rounds."""

from __future__ import annotations

import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Final, NamedTuple, Self

from .state_counts import count_states

WORKER: Final = Path(__file__).with_name("worker.py")

CHURN: Final = 0.05
"""The share of sockets replaced between two measurements."""

_MIN_WORKERS: Final = 4
_DESCRIPTORS_PER_WORKER: Final = 15_000
_TIMEOUT_SECONDS: Final = 10.0


class LoadShape(NamedTuple):
    """Number of sockets per state."""

    established: int
    time_wait: int
    close_wait: int

    @classmethod
    def of(cls, sockets: int) -> LoadShape:
        """Return half in TIME_WAIT, 2 % each in CLOSE_WAIT and FIN_WAIT2, and the rest established."""
        close_wait = sockets // 50
        return cls(sockets // 2 - 2 * close_wait, sockets // 2, close_wait)

    @property
    def workers(self) -> int:
        descriptors = self.established + self.close_wait
        return max(_MIN_WORKERS, -(-descriptors // _DESCRIPTORS_PER_WORKER))


class Load:
    """Sockets held by worker processes; a context manager.

    A worker exits with the end of its input, so none outlives this process, even if it is killed.
    """

    def __init__(self, sockets: int) -> None:
        self._wanted = LoadShape.of(sockets)
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
        """Restore the number of sockets in TIME_WAIT, so that none expires in the next 25 s."""
        self._send_all("refresh")
        self._top_up(0)

    def replace(self, share: float = CHURN) -> None:
        """Close that share of all sockets and open new ones, also in TIME_WAIT; keep the total constant."""
        self._send_all(f"replace {share}")
        self._top_up(int(self._wanted.time_wait * share))

    def descriptors(self) -> int:
        """Return the number of open file descriptors of all workers."""
        return sum(self._send_all("count"))

    def _build(self) -> None:
        self._workers += [_start(number) for number in range(1, self._wanted.workers + 1)]
        pairs = self._shares(self._wanted.established // 2)
        close_wait = self._shares(self._wanted.close_wait)
        self._send([f"open {ours} {half}" for ours, half in zip(pairs, close_wait, strict=True)])
        self._top_up(0)

    def _top_up(self, min_new: int) -> None:
        """Create at least `min_new` sockets in TIME_WAIT, and end the oldest above the total."""
        there = count_states()["time_wait"]
        new = max(min_new, self._wanted.time_wait - there)
        old = max(0, there + new - self._wanted.time_wait)
        both = zip(self._shares(new), self._shares(old), strict=True)
        self._send([f"time_wait {ours} {ended}" for ours, ended in both])

    def _shares(self, number: int) -> list[int]:
        """Split a number among the workers."""
        each, rest = divmod(number, len(self._workers))
        return [each + (i < rest) for i in range(len(self._workers))]

    def _send_all(self, command: str) -> list[int]:
        return self._send([command] * len(self._workers))

    def _send(self, commands: list[str]) -> list[int]:
        """Send one command to each worker, which execute them concurrently; return their results."""
        for worker, command in zip(self._workers, commands, strict=True):
            print(command, file=worker.stdin, flush=True)
        return [_read_result(worker) for worker in self._workers]

    def _end(self) -> None:
        for worker in self._workers:
            assert worker.stdin is not None
            with suppress(OSError):
                worker.stdin.close()
        for worker in self._workers:
            try:
                worker.wait(_TIMEOUT_SECONDS)
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
        process_group=0,  # Ctrl-C goes to this process only, which stops the workers
    )


def _read_result(worker: subprocess.Popen[str]) -> int:
    assert worker.stdout is not None
    line = worker.stdout.readline()
    if not line:
        raise RuntimeError("a process of the load failed: see its message above")
    return int(line)
