"""Attributes of a process from psutil, where there is no /proc."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import psutil

from ..model.process import Process, ProcessId

_T = TypeVar("_T")


class PsutilReader:
    """Reads processes through psutil, where there is no /proc."""

    def identify(self, pid: int) -> tuple[ProcessId, str]:
        """As ProcReader.identify."""
        with _os_errors():
            process = psutil.Process(pid)
            return ProcessId(pid, process.create_time()), process.name()

    def describe(self, pid: int, details: bool) -> Process:
        """As ProcReader.describe."""
        identity, name = self.identify(pid)
        if not details:
            return Process(pid, identity.start_time, name)
        with _os_errors():
            process = psutil.Process(pid)
        cmdline = _or_nothing(process.cmdline) or []
        return Process(
            pid,
            identity.start_time,
            name,
            cmdline=tuple(cmdline),
            username=_or_nothing(process.username) or "",
            cwd=_or_nothing(process.cwd) or "",
        )


@contextmanager
def _os_errors() -> Iterator[None]:
    """Raises what psutil does as the OSError that it stands for."""
    try:
        yield
    except psutil.AccessDenied as failure:
        raise PermissionError(str(failure)) from failure
    except psutil.Error as failure:
        raise ProcessLookupError(str(failure)) from failure


def _or_nothing(ask: Callable[[], _T]) -> _T | None:
    try:
        return ask()
    except (psutil.Error, OSError):
        return None
