"""A separate network namespace: the effects of a live test stay inside it and end with it."""

from __future__ import annotations

import ctypes
import os
import pickle
import shutil
import signal
import subprocess
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Final, ParamSpec, Self, TypeVar, cast

_CLONE_NEWNET: Final = 0x40000000
_TOOLS: Final = ("unshare", "nsenter", "ip", "ss", "nft")

P = ParamSpec("P")
T = TypeVar("T")


@cache
def missing(*more_tools: str) -> str | None:
    """Return the reason why this host cannot run live tests, for a skip; None if it can."""
    if os.name != "posix" or not Path("/proc/self/ns/net").exists():
        return "needs Linux network namespaces"
    if os.geteuid() != 0:
        return "needs root"
    absent = [tool for tool in (*_TOOLS, *more_tools) if shutil.which(tool) is None]
    if absent:
        return f"needs {', '.join(absent)}"
    if subprocess.run(["unshare", "--net", "true"], capture_output=True, check=False).returncode:
        return "needs permission to make network namespaces (CAP_SYS_ADMIN)"
    return None


def enter(namespace: str) -> None:
    """Move this process into a network namespace (os.setns came with Python 3.12)."""
    descriptor = os.open(namespace, os.O_RDONLY)
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.setns(descriptor, _CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), namespace)
    finally:
        os.close(descriptor)


class Namespace:
    """A network namespace with `lo` up, as a context manager.

    A child process holds it open. It waits on a pipe from the test run, so it ends with the test run even
    when that is killed. Everything started with popen() is killed at exit, by its process group.
    """

    def __init__(self) -> None:
        self._holder: subprocess.Popen[str] | None = None
        self._started: list[subprocess.Popen[str]] = []

    def __enter__(self) -> Self:
        self._holder = subprocess.Popen(
            ["unshare", "--net", "sh", "-c", "ip link set lo up && echo ready && exec cat"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            process_group=0,
        )
        assert self._holder.stdout is not None
        if self._holder.stdout.readline() != "ready\n":
            self.close()
            raise RuntimeError("could not make a network namespace")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def path(self) -> str:
        """The file by which other processes enter it: /proc/PID/ns/net."""
        if self._holder is None:
            raise RuntimeError("the namespace is not open")
        return f"/proc/{self._holder.pid}/ns/net"

    def popen(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        cwd: str = "/",
        stderr: int | None = None,
    ) -> subprocess.Popen[str]:
        """Start a program inside, with pipes for its stdin and stdout. The pid is that of the program."""
        process = subprocess.Popen(
            ["nsenter", f"--net={self.path}", "--", *argv],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            env=env,
            cwd=cwd,
            process_group=0,
        )
        self._started.append(process)
        return process

    def run(
        self,
        argv: Sequence[str],
        *,
        text: str = "",
        env: Mapping[str, str] | None = None,
        cwd: str = "/",
        check: bool = True,
        timeout: float = 20,
    ) -> subprocess.CompletedProcess[str]:
        """Run a program inside to its end. The exception of a failure contains its stderr."""
        done = subprocess.run(
            ["nsenter", f"--net={self.path}", "--", *argv],
            input=text,
            capture_output=True,
            text=True,
            env=env,
            cwd=cwd,
            timeout=timeout,
            check=False,
        )
        if check and done.returncode != 0:
            raise RuntimeError(f"{' '.join(argv)} ended with {done.returncode}: {done.stderr.strip()}")
        return done

    def call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call the function inside, in a forked child, and return its result; both must be picklable."""
        reader, writer = os.pipe()
        pid = os.fork()
        if pid == 0:
            # The child must never return into pytest: in any case it reports and exits here.
            status = 1
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(30)
            try:
                enter(self.path)
                report = pickle.dumps((function(*args, **kwargs), None))
                status = 0
            except BaseException:  # noqa: BLE001 - even SystemExit is reported, not raised
                report = pickle.dumps((None, traceback.format_exc()))
            finally:
                with suppress(BaseException), os.fdopen(writer, "wb") as pipe:
                    pipe.write(report)
                os._exit(status)
        os.close(writer)
        try:
            with os.fdopen(reader, "rb") as pipe:
                data = pipe.read()
        finally:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        result, failure = _unpickle(data) if data else (None, "the child exited without a result")
        if failure is not None:
            raise RuntimeError(f"inside the namespace:\n{failure}")
        return cast(T, result)

    def sysctl(self, name: str, value: str | int) -> None:
        """Set a sysctl of this namespace, such as `net.ipv4.ip_local_port_range`."""
        if not name.startswith("net."):
            raise ValueError(f"{name} is not a sysctl of a network namespace")
        self.call(Path("/proc/sys", *name.split(".")).write_text, str(value))

    def close(self) -> None:
        """Kill every process in it, drop the sockets they leave, and release the namespace."""
        for process in self._started:
            _kill(process)
        self._started.clear()
        if self._holder is None:
            return
        if self._holder.poll() is None:
            # Orphans in FIN_WAIT1 and the like would keep the namespace for minutes otherwise.
            self.run(["ss", "--kill", "--tcp", "--all"], check=False)
        _kill(self._holder)
        self._holder = None


def _unpickle(data: bytes) -> tuple[object, str | None]:
    result, failure = pickle.loads(data)  # noqa: S301 - from a child of this process
    return result, failure


def _kill(process: subprocess.Popen[str]) -> None:
    """Kill the process group of this child and reap its leader, in any state."""
    if process.returncode is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    for pipe in (process.stdin, process.stdout, process.stderr):
        if pipe is not None:
            with suppress(OSError):
                pipe.close()
    process.wait(timeout=10)
