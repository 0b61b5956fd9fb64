"""Has the C library give big blocks of memory back as soon as they are free (mallopt(3), GNU libc)."""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Final

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
    library = ctypes.CDLL(None)
    if hasattr(library, "mallopt"):
        library.mallopt(_M_MMAP_THRESHOLD, BYTES)
