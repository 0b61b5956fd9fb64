"""Forked processes that do one step after the other, when the test tells them to."""

from __future__ import annotations

import os
import resource
import signal
from collections.abc import Callable, Generator
from types import TracebackType
from typing import Self

from .in_process import set_comm

Steps = Generator[object, None, None]


class Stepwise:
    """A forked process that runs a generator: each step() continues it up to the next yield.

    The first step is done immediately. After the last one the process waits. It exits with the process that
    forked it.

    outlives: keep the process when that one exits.
    """

    def __init__(self, name: str, steps: Callable[[], Steps], *, outlives: bool = False) -> None:
        request, self._requests = os.pipe()
        self._reports, report = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                os.close(self._requests)
                os.close(self._reports)
                set_comm(name)
                self._run(steps(), request, report)
                while outlives:
                    signal.pause()
            finally:
                os._exit(1)
        os.close(request)
        os.close(report)
        self.step()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._requests)
        os.close(self._reports)
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)

    def _run(self, steps: Steps, request: int, report: int) -> None:
        """Do one step for each byte read from `request`, until its end: the parent process has exited."""
        while os.read(request, 1):
            next(steps, None)
            os.write(report, b"!")

    def step(self) -> None:
        """Continue the generator, and return when it has reached its next yield."""
        os.write(self._requests, b"?")
        assert os.read(self._reports, 1) == b"!", "the process failed: see its message on stderr"


def raise_fd_limit(number: int) -> None:
    """Allow this process, and those that it forks, that many descriptors."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (number, number))
