"""A running Windows: a Wine prefix and its server in a network namespace of their own."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from ..live.namespace import Namespace
from .base import environment, wine, wineserver

_TIMEOUT: Final = 60.0
_ANYWHERE: Final = Path("/")
_SERVER_LINGER_SECONDS: Final = 120
"""The server ends by itself after this time, where a killed test run could not stop it."""


class Windows:
    """Windows programs and `ss` see the same sockets: those of `namespace`. A context manager.

    python_path: directories of packages, on this host.
    """

    def __init__(self, namespace: Namespace, prefix: Path, python: Path, python_path: Sequence[Path]) -> None:
        self.namespace = namespace
        self.prefix = prefix
        self._python = str(python / "python.exe")
        self._environment = {
            **environment(prefix),
            "PYTHONPATH": ";".join(windows_path(path) for path in python_path),
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONUNBUFFERED": "1",
        }
        self._started: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        # The first process starts services.exe, which keeps its streams.
        for argv in ([wineserver(), f"-p{_SERVER_LINGER_SECONDS}"], [wine(), "cmd", "/c", "exit"]):
            subprocess.run(
                self._inside(argv), env=self._environment, check=True, timeout=_TIMEOUT,
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            )  # fmt: skip
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in self._started:
            stop(process)
        for option in ("-k", "-w"):
            subprocess.run(
                [wineserver(), option], env=self._environment, check=False, timeout=_TIMEOUT,
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            )  # fmt: skip

    @property
    def drive(self) -> Path:
        """The directory on this host that is drive C."""
        return self.prefix / "drive_c"

    def run(
        self,
        *argv: str | Path,
        check: bool = True,
        env: Mapping[str, str] | None = None,
        cwd: Path = _ANYWHERE,
        timeout: float = _TIMEOUT,
    ) -> subprocess.CompletedProcess[str]:
        """Run a Windows program to its end. The exception of a failure contains its output.

        Carriage returns are removed from the output.
        """
        with self.popen(*argv, env=env, cwd=cwd, stderr=subprocess.PIPE) as process:
            try:
                stdout, stderr = process.communicate(timeout=timeout)
            except BaseException:
                stop(process)
                raise
        done = subprocess.CompletedProcess(argv, process.returncode, _text(stdout), _text(stderr))
        if check and done.returncode:
            words = " ".join(map(str, argv))
            raise AssertionError(f"{words} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}")
        return done

    def python(
        self,
        *arguments: str | Path,
        check: bool = True,
        env: Mapping[str, str] | None = None,
        cwd: Path = _ANYWHERE,
        timeout: float = _TIMEOUT,
    ) -> subprocess.CompletedProcess[str]:
        """Run Windows' Python to its end, as run() does."""
        return self.run(self._python, *arguments, check=check, env=env, cwd=cwd, timeout=timeout)

    def popen(
        self,
        *argv: str | Path,
        env: Mapping[str, str] | None = None,
        cwd: Path = _ANYWHERE,
        stdout: int = subprocess.PIPE,
        stderr: int = subprocess.STDOUT,
    ) -> subprocess.Popen[bytes]:
        """Start a Windows program, which is killed at the end. The pid is that of its process on this host.

        A Path becomes a path of Windows. Streams must be pipes or DEVNULL: Python does not start
        with a file or a terminal.
        """
        words = [windows_path(word) if isinstance(word, Path) else word for word in argv]
        process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", "--", *self._inside([wine(), *words])],
            env={**self._environment, **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            cwd=cwd,
            process_group=0,
        )
        self._started.append(process)
        return process

    def popen_python(
        self,
        *arguments: str | Path,
        env: Mapping[str, str] | None = None,
        cwd: Path = _ANYWHERE,
        stdout: int = subprocess.PIPE,
        stderr: int = subprocess.STDOUT,
    ) -> subprocess.Popen[bytes]:
        """Start Windows' Python, as popen() does."""
        return self.popen(self._python, *arguments, env=env, cwd=cwd, stdout=stdout, stderr=stderr)

    def drop_sockets(self) -> None:
        """Drop the sockets that earlier tests have left in TIME_WAIT and the like."""
        self.namespace.run(["ss", "--kill", "--tcp", "--all"])

    def _inside(self, argv: Sequence[str]) -> list[str]:
        return ["nsenter", f"--net={self.namespace.path}", "--", *argv]


def windows_path(path: Path) -> str:
    """Return the path by which Windows programs find a file of this host."""
    return "Z:" + str(path.absolute()).replace("/", "\\")


def stop(process: subprocess.Popen[bytes]) -> None:
    """Kill a program with its process group, in any state, and close its streams."""
    if process.returncode is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    for pipe in (process.stdout, process.stderr):
        if pipe is not None:
            with suppress(OSError):
                pipe.close()
    process.wait(timeout=10)


def _text(output: bytes) -> str:
    return output.decode("utf-8", "replace").replace("\r\n", "\n")
