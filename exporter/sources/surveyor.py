"""Reads all descriptors of some processes and tells another process of them: the program of a survey.

Runs in a process of its own, with no module that it does not need: it is to be done before that of others.
"""

from __future__ import annotations

import marshal
import sys
from collections.abc import Iterator, Sequence

from .descriptors import DescriptorTable, Packed


def main(arguments: Sequence[str]) -> None:
    """arguments: where /proc is, and pids. Writes to standard output what it has learned of each; of one that
    is gone or may not be looked into, nothing."""
    procfs, *pids = arguments
    # Not before all is read: the pipe holds less than one, and the other side has something else to do.
    told = list(_told(procfs, map(int, pids)))
    marshal.dump(told, sys.stdout.buffer)


def _told(procfs: str, pids: Iterator[int]) -> Iterator[Packed]:
    for pid in pids:
        table = DescriptorTable(procfs, pid)
        try:
            for _ in table.everything():
                pass
        except OSError:
            continue
        yield table.packed()
