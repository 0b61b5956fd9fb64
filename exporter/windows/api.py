"""Functions of Windows' DLLs, loaded by ctypes. Only this folder calls them.

Importing this module works on every system; calling library() does not.
"""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any, Final

ERROR_SUCCESS: Final = 0
ERROR_ACCESS_DENIED: Final = 5
ERROR_CALL_NOT_IMPLEMENTED: Final = 120
ERROR_INSUFFICIENT_BUFFER: Final = 122
ERROR_INVALID_LEVEL: Final = 124
ERROR_MORE_DATA: Final = 234
ERROR_SERVICE_ALREADY_RUNNING: Final = 1056
ERROR_SERVICE_DOES_NOT_EXIST: Final = 1060
ERROR_SERVICE_NOT_ACTIVE: Final = 1062
ERROR_FAILED_SERVICE_CONTROLLER_CONNECT: Final = 1063
ERROR_SERVICE_SPECIFIC: Final = 1066
STATUS_UNSUCCESSFUL: Final = 0xC0000001
STATUS_INFO_LENGTH_MISMATCH: Final = 0xC0000004


@cache
def library(name: str) -> Any:
    """Return a system DLL, loaded from the system's directory only. Raises OSError if there is none."""
    windows: Any = ctypes
    if not hasattr(windows, "WinDLL"):
        raise OSError(f"{name}.dll: this system is not Windows")
    # LOAD_LIBRARY_SEARCH_SYSTEM32: never a DLL of the current directory, which others may write to.
    return windows.WinDLL(name, use_last_error=True, winmode=0x800)


def last_error() -> int:
    """Return the error code of the last function that failed in this thread."""
    windows: Any = ctypes
    return int(windows.get_last_error())


def windows_error(code: int | None = None) -> OSError:
    """Return the OSError of an error code, by default last_error()."""
    windows: Any = ctypes
    error: OSError = windows.WinError(last_error() if code is None else code)
    return error


def has_function(name: str, function: str) -> bool:
    """Return whether this Windows has a DLL with this function."""
    try:
        return hasattr(library(name), function)
    except OSError:
        return False
