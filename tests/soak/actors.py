"""The processes of the scenarios: started, given commands, asked what they hold, and ended."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any, Final, NamedTuple, Self, TextIO

from .actor import CONTROL
from .judge import Held

_ROOT: Final = Path(__file__).parents[2]
_TIMEOUT_SECONDS: Final = 20.0


class _Process(NamedTuple):
    """A running actor."""

    pid: int
    control: socket.socket
    answers: TextIO
    started: subprocess.Popen[bytes] | None
    """None for a child of another actor."""


class Actors:
    """The running actors by name; a context manager. They exit with this process, even if it is killed."""

    def __init__(self) -> None:
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(CONTROL)
        self._listener.listen()
        self._listener.settimeout(_TIMEOUT_SECONDS)
        self._processes: dict[str, _Process] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for name in [*self._processes]:
            self.end(name)
        self._listener.close()

    @property
    def names(self) -> set[str]:
        return {*self._processes}

    def start(self, name: str) -> None:
        """Start an actor in a process of its own."""
        command = [sys.executable, "-m", "tests.soak.actor", name]
        # Ctrl-C is for this process, which ends them.
        self._expect(name, subprocess.Popen(command, cwd=_ROOT, process_group=0))

    def fork(self, parent: str, group: str, child: str) -> None:
        """Have an actor hand a group of its sockets over to a new child."""
        self.order(parent, "fork", group, child)
        self._expect(child, None)

    def end(self, name: str) -> None:
        """End a process with all its sockets, and return when the kernel has closed them."""
        pid, control, answers, started = self._processes.pop(name)
        # It exists: it is not reaped before the next lines, or it is an actor's child and still connected.
        pidfd = os.pidfd_open(pid)
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        select.select([pidfd], [], [], _TIMEOUT_SECONDS)
        os.close(pidfd)
        if started:
            started.wait(_TIMEOUT_SECONDS)
        answers.close()
        control.close()

    def order(self, name: str, *command: object) -> Any:
        """Have an actor execute a command, and return its result."""
        self.begin(name, *command)
        return self.result(name)

    def begin(self, name: str, *command: object) -> None:
        """Send a command; result() waits until it is executed."""
        self._processes[name].control.sendall(json.dumps(command).encode() + b"\n")

    def result(self, name: str) -> Any:
        return _read_answer(self._processes[name].answers)

    def held(self, command: str = "held") -> Held:
        """Return process -> state -> sockets, as all report them. command: `held` or `observe`."""
        for name in self._processes:
            self.begin(name, command)
        return {name: self.result(name) for name in self._processes}

    def _expect(self, name: str, started: subprocess.Popen[bytes] | None) -> None:
        """Wait until a new actor connects."""
        control, _ = self._listener.accept()
        control.settimeout(_TIMEOUT_SECONDS)
        answers = control.makefile("r")
        connected, pid = _read_answer(answers)
        self._processes[connected] = _Process(pid, control, answers, started)
        if connected != name:
            raise RuntimeError(f"{connected} connected instead of {name}")


def _read_answer(answers: TextIO) -> Any:
    line = answers.readline()
    if not line:
        raise RuntimeError("an actor of the soak test failed: see its message above")
    return json.loads(line)
