"""Resources of this process: the C library's heap, Python's cyclic garbage collector, file descriptors."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from ctypes import CDLL

_M_MMAP_THRESHOLD: Final = -3

MMAP_THRESHOLD: Final = 1 << 18
"""Bytes from which malloc() maps a block separately. Smaller are the buffers that are allocated a hundred
times in each collection, larger the tables of thousands of sockets."""


@cache
def set_mmap_threshold() -> None:
    """Return blocks of MMAP_THRESHOLD bytes or more to the system when they are freed (mallopt(3)).

    By default GNU libc raises the threshold, up to 32 MiB, when the first such block is freed. Tables that
    are rebuilt in each collection then fragment the heap: 15 MiB of 90 MiB at 150,000 sockets. The setting
    lasts as long as the process. Does nothing without GNU libc.
    """
    if library := _library_with("mallopt"):
        library.mallopt(_M_MMAP_THRESHOLD, MMAP_THRESHOLD)


def trim_heap() -> None:
    """Return unused pages of the heap to the system, also those between used ones (malloc_trim(3)).

    Otherwise memory that only the first collection needs stays resident: 10 MiB at 150,000 sockets, where the
    call takes a millisecond. Does nothing without GNU libc.
    """
    if library := _library_with("malloc_trim"):
        library.malloc_trim(0)


@contextmanager
def gc_paused() -> Iterator[None]:
    """Disable the cyclic garbage collector during a collection.

    A collection allocates about 100,000 acyclic tuples, which would trigger many full passes: 120 ms of the
    first collection.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def freeze_startup_objects() -> None:
    """Exclude the existing objects, mostly modules, from later passes of the garbage collector."""
    gc.collect()
    gc.freeze()


@cache
def _library_with(function: str) -> CDLL | None:
    """Return the C library, or None if it lacks the function or ctypes cannot be used."""
    if sys.platform != "linux":
        return None
    try:
        # Imported here because ctypes takes 1 MiB: only hosts with many sockets need it.
        from ctypes import CDLL

        library = CDLL(None)
    except (ImportError, OSError, MemoryError):
        return None
    return library if hasattr(library, function) else None


RESERVED_FDS: Final = 48
"""File descriptors reserved for the exporter itself (netlink, /proc, listeners, log), so that client
connections cannot exhaust them. They include the few connections that are accepted, but not counted yet, and
those that are evicted, but not closed yet: the server accepts one at a time from each listener."""


def raise_fd_limit(max_connections: int) -> int:
    """Raise the soft limit of file descriptors, as far as the hard limit allows, for `max_connections`.

    Return the number of connections that fit into the limit: at most `max_connections`, at least one.
    """
    needed = max_connections + RESERVED_FDS
    limit = _raise_soft_limit(needed)
    return max_connections if limit is None else max(1, min(max_connections, limit - RESERVED_FDS))


def _raise_soft_limit(needed: int) -> int | None:
    """Return the soft limit, raised to `needed` if that is possible; None without a limit."""
    try:
        import resource
    except ImportError:  # Windows, where sockets are no file descriptors
        return None
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return None
    if soft < needed:
        soft = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return soft
