"""The Windows Event Log: warnings and errors of the service, its start and its end.

https://learn.microsoft.com/windows/win32/eventlog/event-logging
"""

from __future__ import annotations

import ctypes
import logging
from contextlib import suppress
from ctypes import wintypes
from importlib import import_module
from typing import Any, ClassVar, Final

from .api import library, windows_error

ERROR_TYPE: Final = 1
WARNING_TYPE: Final = 2
INFORMATION_TYPE: Final = 4

_SOURCES_KEY: Final = r"SYSTEM\CurrentControlSet\Services\EventLog\Application"
# Its message of each number from 1 to 1000 is the text of the event. Without such a file the Event Viewer
# shows that the description cannot be found.
_MESSAGE_FILE: Final = r"%SystemRoot%\System32\EventCreate.exe"
# ReportEventW refuses longer texts than 31,839 characters.
_MAX_CHARACTERS: Final = 31_000
_EVENT_IDS: Final = {INFORMATION_TYPE: 1, WARNING_TYPE: 2, ERROR_TYPE: 3}


class EventLog:
    """Writes events of a source to the log `Application`. Raises OSError if there is no event log."""

    def __init__(self, source: str) -> None:
        advapi32 = library("advapi32")
        advapi32.RegisterEventSourceW.restype = wintypes.HANDLE
        advapi32.RegisterEventSourceW.argtypes = [wintypes.LPCWSTR, wintypes.LPCWSTR]
        self._report_event = advapi32.ReportEventW
        self._report_event.argtypes = [
            wintypes.HANDLE,
            wintypes.WORD,
            wintypes.WORD,
            wintypes.DWORD,
            ctypes.c_void_p,
            wintypes.WORD,
            wintypes.DWORD,
            ctypes.POINTER(wintypes.LPCWSTR),
            ctypes.c_void_p,
        ]
        self._handle = advapi32.RegisterEventSourceW(None, source)
        if not self._handle:
            raise windows_error()

    def write(self, event_type: int, text: str) -> None:
        """Write an event. Raises OSError."""
        texts = (wintypes.LPCWSTR * 1)(text[:_MAX_CHARACTERS])
        event_id = _EVENT_IDS[event_type]
        if not self._report_event(self._handle, event_type, 0, event_id, None, 1, 0, texts, None):
            raise windows_error()


class EventLogHandler(logging.Handler):
    """Writes records from level "warn" up to the event log, in the format of the log."""

    _TYPES: ClassVar = ((logging.ERROR, ERROR_TYPE), (logging.WARNING, WARNING_TYPE))

    def __init__(self, events: EventLog, formatter: logging.Formatter) -> None:
        super().__init__(logging.WARNING)
        self._events = events
        self.setFormatter(formatter)

    def emit(self, record: logging.LogRecord) -> None:
        """Write the record. A full event log does not stop the exporter."""
        event_type = next(number for level, number in self._TYPES if record.levelno >= level)
        try:
            self._events.write(event_type, self.format(record))
        except OSError:
            self.handleError(record)


def register_source(source: str) -> None:
    """Register the texts of a source for the Event Viewer. Raises OSError."""
    winreg: Any = import_module("winreg")  # exists on Windows only
    with winreg.CreateKey(winreg.HKEY_LOCAL_MACHINE, rf"{_SOURCES_KEY}\{source}") as key:
        winreg.SetValueEx(key, "EventMessageFile", 0, winreg.REG_EXPAND_SZ, _MESSAGE_FILE)
        types = ERROR_TYPE | WARNING_TYPE | INFORMATION_TYPE
        winreg.SetValueEx(key, "TypesSupported", 0, winreg.REG_DWORD, types)


def unregister_source(source: str) -> None:
    """Remove what register_source() wrote, if it exists. Raises OSError."""
    winreg: Any = import_module("winreg")
    with suppress(FileNotFoundError):
        winreg.DeleteKey(winreg.HKEY_LOCAL_MACHINE, rf"{_SOURCES_KEY}\{source}")
