"""Attributes of processes from psutil, for systems without /proc."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, NamedTuple, TypeVar

import psutil

from ..model.process import Process, ProcessId

_T = TypeVar("_T")

_EXE_SUFFIX: Final = ".exe"


class ProcessDetails(NamedTuple):
    """Attributes of a process that rules for names can match in addition to its name."""

    cmdline: tuple[str, ...]
    username: str
    cwd: str


class PsutilProcessReader:
    """Reads attributes of processes through psutil."""

    def identify(self, pid: int) -> tuple[ProcessId, str]:
        """Return the process that has this pid now, and its name. Raises OSError if there is none."""
        with _convert_errors():
            process = psutil.Process(pid)
            return ProcessId(pid, process.create_time()), without_exe_suffix(process.name())

    def describe(self, pid: int, details: bool) -> Process:
        """Return the attributes of a process; unreadable ones are empty. Raises OSError if there is none.

        details: read more than the name.
        """
        identity, name = self.identify(pid)
        if not details:
            return Process(pid, identity.start_time, name)
        return Process(pid, identity.start_time, name, **read_details(pid)._asdict())


def read_details(pid: int) -> ProcessDetails:
    """Return the details of a process; unreadable ones are empty. Raises OSError if there is none."""
    with _convert_errors():
        process = psutil.Process(pid)
    return ProcessDetails(
        cmdline=tuple(_read_or_none(process.cmdline) or ()),
        username=_read_or_none(process.username) or "",
        cwd=_read_or_none(process.cwd) or "",
    )


def without_exe_suffix(name: str) -> str:
    """Return the name of a Windows executable as windows_exporter does: without `.exe`."""
    return name[: -len(_EXE_SUFFIX)] if name.lower().endswith(_EXE_SUFFIX) else name


@contextmanager
def _convert_errors() -> Iterator[None]:
    """Convert exceptions of psutil to the corresponding OSError."""
    try:
        yield
    except psutil.AccessDenied as error:
        raise PermissionError(str(error)) from error
    except psutil.Error as error:
        raise ProcessLookupError(str(error)) from error


def _read_or_none(read: Callable[[], _T]) -> _T | None:
    try:
        return read()
    except (psutil.Error, OSError):
        return None
