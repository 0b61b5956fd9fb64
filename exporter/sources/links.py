"""Where descriptors point to, many at once (proc_pid_fd(5))."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Final

# Nearly all of the 4 us that a link takes are the kernel's, who does two at a time in the same time. More
# threads would wait for each other: what Python does in between takes a fifth.
_THREADS: Final = 2
# A pair of threads costs as much as some forty links.
_WORTH_THREADS: Final = 256


def targets(descriptors: Sequence[int], directory: int) -> list[str]:
    """Where these descriptors point to; nowhere, if one is closed meanwhile.

    directory: the descriptor of /proc/PID/fd. Raises OSError when the process is gone or may not be looked
    into.
    """
    if len(descriptors) < _WORTH_THREADS:
        return _read(descriptors, directory)
    share = -(-len(descriptors) // _THREADS)
    parts = [descriptors[first : first + share] for first in range(0, len(descriptors), share)]
    with ThreadPoolExecutor(_THREADS) as threads:
        found = threads.map(partial(_read, directory=directory), parts)
        return [target for some in found for target in some]


def _read(descriptors: Iterable[int], directory: int) -> list[str]:
    found: list[str] = []
    # extend() keeps what it has when map() raises, and map() goes on behind what made it raise.
    left = map(partial(os.readlink, dir_fd=directory), map(str, descriptors))
    while True:
        try:
            found.extend(left)
        except FileNotFoundError:
            found.append("")
        else:
            return found
