"""Stand-ins for the DLLs of Windows: their functions are Python functions, called through C.

The code under test calls them as it calls those of a DLL: by default ctypes passes and returns C ints, so
that a pointer without a declared type is cut to 32 bits here as well.
"""

from __future__ import annotations

import ctypes
from _ctypes import FUNCFLAG_CDECL, CFuncPtr  # what ctypes.CDLL is made of
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any, ClassVar, Final
from unittest import mock

from exporter.windows import api

POINTER: Final = ctypes.c_void_p
DWORD: Final = ctypes.c_uint32
HANDLE: Final = ctypes.c_uint64
"""Returned by value: a callback cannot return c_void_p in all versions of Python."""


class _DllFunction(CFuncPtr):  # type: ignore[misc]  # no type information
    """A function as ctypes finds it in a DLL: without types of arguments."""

    _flags_: ClassVar = FUNCFLAG_CDECL
    _restype_: ClassVar = ctypes.c_int


class FakeDlls:
    """The DLLs, each with the functions that a test defines; any other function is absent."""

    def __init__(self) -> None:
        self.last_error = 0
        self._dlls: dict[str, SimpleNamespace] = {}
        self._callbacks: list[Any] = []

    def define(
        self, dll: str, name: str, result: Any, *arguments: Any
    ) -> Callable[[Callable[..., Any]], None]:
        """Return a decorator that makes a Python function the function of a DLL."""

        def add(function: Callable[..., Any]) -> None:
            callback = ctypes.CFUNCTYPE(result, *arguments)(function)
            self._callbacks.append(callback)
            address = ctypes.cast(callback, ctypes.c_void_p).value
            setattr(self._dlls.setdefault(dll, SimpleNamespace()), name, _DllFunction(address))

        return add

    def load(self, name: str, **_: object) -> SimpleNamespace:
        """Return a DLL, as ctypes.WinDLL does."""
        try:
            return self._dlls[name]
        except KeyError:
            raise FileNotFoundError(name) from None


@contextmanager
def fake_dlls() -> Iterator[FakeDlls]:
    """Let exporter.windows.api.library() return stand-ins."""
    dlls = FakeDlls()

    def last_error() -> int:
        return dlls.last_error

    def windows_error(code: int) -> OSError:
        return OSError(code, f"Windows error {code}")

    api.library.cache_clear()
    with (
        mock.patch.object(ctypes, "WinDLL", dlls.load, create=True),
        mock.patch.object(ctypes, "get_last_error", last_error, create=True),
        mock.patch.object(ctypes, "WinError", windows_error, create=True),
    ):
        yield dlls
    api.library.cache_clear()


def write_dword(address: int, number: int) -> None:
    """Write a DWORD to the memory of the caller."""
    ctypes.c_uint32.from_address(address).value = number


def read_dword(address: int) -> int:
    """Return a DWORD of the memory of the caller."""
    return ctypes.c_uint32.from_address(address).value
