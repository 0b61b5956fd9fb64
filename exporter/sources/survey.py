"""Reads the descriptors of big processes by processes of our own, while the sockets are being read.

At a first look all descriptors have to be read: of 72,000, 0.3 s, as long as all the rest. More threads
are no help (links.py); other processes read them at the same time.
"""

from __future__ import annotations

import marshal
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from subprocess import DEVNULL, PIPE, Popen
from typing import Any, Final

from . import surveyor
from .descriptors import DescriptorTable

_MOST_SURVEYORS: Final = 4
_ROOT: Final = str(Path(__file__).parents[surveyor.__name__.count(".")])
_PROGRAM: Final = (
    f"import sys; sys.path.append(sys.argv[1]); from {surveyor.__name__} import main; main(sys.argv[2:])"
)


class Survey:
    """Begins at once to read these processes. counts: how many descriptors each has, by pid.

    Where no other process can be started, or one comes to an early end, nothing is known of its share.
    """

    def __init__(self, procfs: Path, counts: Mapping[int, int]) -> None:
        self._procfs = procfs
        number = min(_MOST_SURVEYORS, len(os.sched_getaffinity(0)), len(counts))
        self._surveyors = list(_started(procfs, _shares(counts, number)))

    def tables(self) -> dict[int, DescriptorTable]:
        """All that could be read, by pid. Waits for it."""
        tables = (DescriptorTable.unpacked(self._procfs, packed) for packed in self._told())
        return {table.pid: table for table in tables}

    def end(self) -> None:
        """Ends it, if it is of no use any more."""
        for process in self._surveyors:
            with process:
                process.kill()
        self._surveyors.clear()

    def _told(self) -> Iterator[Any]:
        for process in self._surveyors:
            said, _ = process.communicate()
            if process.returncode == 0:
                yield from marshal.loads(said)  # noqa: S302  # by our own program
        self._surveyors.clear()


def _shares(counts: Mapping[int, int], number: int) -> list[list[int]]:
    """The pids, in so many lists of about as many descriptors each."""
    shares: list[list[int]] = [[] for _ in range(number)]
    sums = [0] * number
    for pid in sorted(counts, key=counts.__getitem__, reverse=True):
        least = sums.index(min(sums))
        shares[least].append(pid)
        sums[least] += counts[pid]
    return shares


def _started(procfs: Path, shares: Iterable[Iterable[int]]) -> Iterator[Popen[bytes]]:
    """-I and -S: without the modules of whoever calls, and in a third of the time."""
    for share in shares:
        options = ["-I", "-S", "-c", _PROGRAM, _ROOT, str(procfs), *map(str, share)]
        try:
            yield Popen([sys.executable, *options], stdin=DEVNULL, stdout=PIPE, stderr=DEVNULL)  # noqa: S603  # ourselves
        except OSError:
            return
