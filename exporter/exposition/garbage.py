"""Keeps Python's search for cyclic garbage out of the way of a look."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def search_put_off() -> Iterator[None]:
    """No search meanwhile: a look makes a hundred thousand tuples and frees them again, none of them in a
    cycle, and each few hundred would start a search among all that there is. It is 120 ms of a first look."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def leave_out_what_is_there() -> None:
    """What there is by now, modules above all, stays for good: no later search looks at it."""
    gc.collect()
    gc.freeze()
