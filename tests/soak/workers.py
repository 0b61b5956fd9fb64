"""The processes of the soak test, which exit, are killed, and are started again."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from contextlib import suppress
from itertools import count
from math import ceil
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from ..benchmarks.worker import IPV6_PORT, PORTS
from .judge import Closers, Held

WORKERS: Final = 5
PAIRS: Final = 300
CLOSE_WAIT: Final = 40
SHARE: Final = 0.1
VISITORS: Final = 3

MAX_CHURN: Final = WORKERS * 2 * (ceil(PAIRS * SHARE) + ceil(CLOSE_WAIT * SHARE) + VISITORS)
"""Maximum number of sockets that change their state when all workers execute one command."""

_ROOT: Final = Path(__file__).parents[2]
_HIGHEST: Final = 250
_TIMEOUT_SECONDS: Final = 20.0


class Workers:
    """The worker processes; a context manager. They exit with this process, even if it is killed."""

    def __init__(self) -> None:
        self._numbers = count()
        self._workers: dict[str, subprocess.Popen[str]] = {}
        self.closers = Closers({}, {})
        """Processes that close connections, by service, including processes that have exited."""
        self.ended = 0
        self.killed = 0

    def __enter__(self) -> Self:
        try:
            for _ in range(WORKERS):
                self._start()
        except BaseException:
            self._end_all()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end_all()

    @property
    def names(self) -> set[str]:
        """Names of the running processes."""
        return {*self._workers}

    def order(self, command: str) -> None:
        """Send a command to all workers; answers() waits for their results."""
        for worker in self._workers.values():
            print(command, file=worker.stdin, flush=True)

    def answers(self) -> list[str]:
        return [_read_result(worker) for worker in self._workers.values()]

    def held(self) -> Held:
        """Return process -> state -> sockets, as reported by the workers."""
        self.order("held")
        return dict(zip(self._workers, map(json.loads, self.answers()), strict=True))

    def change(self) -> None:
        """Kill the oldest worker with its sockets, stop the next, and start two new ones."""
        for kill in (True, False):
            name = next(iter(self._workers))
            worker = self._workers.pop(name)
            if kill:
                worker.kill()
                self.killed += 1
            _end(worker)
            self.ended += 1
        for _ in range(2):
            self._start()

    def _start(self) -> None:
        number = 1 + next(self._numbers) % _HIGHEST
        over_ipv4 = [(socket.inet_aton(f"127.0.{number}.1"), port) for port in PORTS]
        over_ipv6 = socket.inet_pton(socket.AF_INET6, "::1"), IPV6_PORT + number
        for service in (*over_ipv4, over_ipv6):
            self.closers.clients[service] = self.closers.servers[service] = {f"soak{number}"}
        worker = subprocess.Popen(
            [sys.executable, "-m", "tests.soak.worker", str(number)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=_ROOT,
            process_group=0,  # Ctrl-C is for us, who end them
        )
        self._workers[f"soak{number}"] = worker
        print(f"open {PAIRS} {CLOSE_WAIT}", file=worker.stdin, flush=True)
        _read_result(worker)

    def _end_all(self) -> None:
        for worker in self._workers.values():
            _end(worker)
        self._workers.clear()


def _read_result(worker: subprocess.Popen[str]) -> str:
    assert worker.stdout is not None
    line = worker.stdout.readline()
    if not line:
        raise RuntimeError("a process of the soak test failed: see its message above")
    return line


def _end(worker: subprocess.Popen[str]) -> None:
    assert worker.stdin is not None
    assert worker.stdout is not None
    with suppress(OSError):
        worker.stdin.close()
    try:
        worker.wait(_TIMEOUT_SECONDS)
    except subprocess.TimeoutExpired:
        worker.kill()
        worker.wait()
    worker.stdout.close()
