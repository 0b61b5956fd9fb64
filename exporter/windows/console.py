"""Events of the console: its window is closed, or a user logs off.

Ctrl-C and Ctrl-Break are signals for Python. After other events the process ends when their handler returns,
which Python's does immediately: it leaves no time to complete responses.

https://learn.microsoft.com/windows/console/handlerroutine
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from ctypes import wintypes
from typing import Any, Final

from .api import library, windows_error

MAX_CLOSE_SECONDS: Final = 4.5
"""Time for an orderly end. Windows ends the process 5 s after it closed the console."""

_installed: Final[list[ConsoleEvents]] = []
"""Handlers that Windows calls as long as the process lives, and which must not be freed."""

_CLOSE, _LOGOFF, _SHUTDOWN = 2, 5, 6


class ConsoleEvents:
    """Handler of the events of the console.

    stop: set when the console is closed; None for a service, which outlives the user who logs off.
    stopped: set by its user when the exporter has ended.
    """

    def __init__(self, stop: threading.Event | None) -> None:
        self._stop = stop
        self.stopped = threading.Event()

    def install(self) -> None:
        """Have Windows call handle() in a thread of its own. Raises OSError."""
        types: Any = ctypes
        handler_type = types.WINFUNCTYPE(wintypes.BOOL, wintypes.DWORD)
        self._handler = handler_type(self.handle)
        set_handler = library("kernel32").SetConsoleCtrlHandler
        set_handler.argtypes = [handler_type, wintypes.BOOL]
        if not set_handler(self._handler, True):
            raise windows_error()
        _installed.append(self)

    def handle(self, event: int) -> bool:
        """Return whether the event needs no other handler."""
        if event not in (_CLOSE, _LOGOFF, _SHUTDOWN):
            return False
        if self._stop:
            self._stop.set()
            self.stopped.wait(MAX_CLOSE_SECONDS)
        return True


@contextmanager
def stop_when_closed() -> Iterator[threading.Event]:
    """Yield an event that is set when the console is closed. The process ends after the `with` block."""
    stop = threading.Event()
    events = ConsoleEvents(stop)
    # OSError: there is no console to be closed.
    with suppress(OSError):
        events.install()
    try:
        yield stop
    finally:
        events.stopped.set()
