"""Marks of tests that a system cannot run, each with its reason."""

from __future__ import annotations

import ctypes
import sys
from typing import Any, Final

import pytest

needs_linux: Final = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")
needs_posix: Final = pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX")


def unless_wine(gap: str) -> pytest.MarkDecorator:
    """Mark a test that runs on Windows, and under Wine is skipped, with the reason `Wine: GAP`."""
    return pytest.mark.skipif(is_wine(), reason=f"Wine: {gap}")


def is_wine() -> bool:
    """Return whether this Windows is Wine, whose ntdll.dll has functions of its own."""
    windows: Any = ctypes
    return sys.platform == "win32" and hasattr(windows.WinDLL("ntdll"), "wine_get_version")
