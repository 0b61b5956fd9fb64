"""Where descriptors point to, many at once (proc_pid_fd(5))."""

from __future__ import annotations

import os
from collections.abc import Iterable
from functools import partial


def targets(descriptors: Iterable[int], directory: int) -> list[str]:
    """Where these descriptors point to; nowhere, if one is closed meanwhile.

    directory: the descriptor of /proc/PID/fd. Raises OSError when the process is gone or may not be looked
    into. Nearly all of the 4 us that a link takes are the kernel's. A second thread would not help: at each
    link, either would wait for the other.
    """
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
