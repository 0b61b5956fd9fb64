"""Has the C library give memory back that is free (mallopt(3), malloc_trim(3), GNU libc)."""

from __future__ import annotations

import sys
from functools import cache
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from ctypes import CDLL

_M_MMAP_THRESHOLD: Final = -3
# The tables of thousands of sockets; not what is read and thrown away a hundred times in each look.
BYTES: Final = 1 << 18


@cache
def give_back() -> None:
    """From now on, and for good: blocks of that size are the system's again when freed.

    By itself the library learns from the first one that is freed to keep all of them, up to 32 MiB each.
    Tables that are made anew all the time then leave holes that nothing fits into: 15 MiB of 90 at 150,000
    sockets. Other C libraries have no such setting, and nothing is changed there.
    """
    if library := _library("mallopt"):
        library.mallopt(_M_MMAP_THRESHOLD, BYTES)


def give_back_pages() -> None:
    """The pages are the system's again that hold nothing just now, also between what is in use.

    What the first look needs for a moment is kept else, and filled now more, now less: 10 MiB at 150,000
    sockets. Takes a millisecond there.
    """
    if library := _library("malloc_trim"):
        library.malloc_trim(0)


@cache
def _library(function: str) -> CDLL | None:
    """The C library, if it has this function and ctypes may be used."""
    if sys.platform != "linux":
        return None
    try:
        # A megabyte, for those only who have many sockets.
        from ctypes import CDLL

        library = CDLL(None)
    except (ImportError, OSError, MemoryError):
        return None
    return library if hasattr(library, function) else None
