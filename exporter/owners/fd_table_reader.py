"""Reads the descriptor tables of processes that no search for sockets has read completely.

A search stops when it has found all sockets. A process none of whose sockets is in the kernel's tables might
never be read, and its dead file descriptors would not be found.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Collection
from math import inf
from typing import Final

from .fd_scanner import FdScanner
from .fd_table import FdTable

UNITS_PER_COLLECTION: Final = 2_000
"""Maximum cost of what one collection reads, about 5 ms. A unit is a descriptor read for the first time."""
UNLIMITED_UNITS: Final = sys.maxsize

# On a busy host the numbers of open descriptors change all the time: processes that have been read before are
# read again at a quarter of the speed.
_UNITS_PER_REREAD_FD: Final = 4
# Listing a descriptor takes an eighth of the time of reading it.
_LISTED_FDS_PER_UNIT: Final = 8
# Checking whether the number of open descriptors has changed takes as long as reading a few.
_UNITS_PER_CHECK: Final = 4

ROUND_SECONDS: Final = 30.0
"""Minimum time between two rounds through all processes: with 200 of them a round takes 1 ms, a third of the
time of a collection of 100 sockets."""


class FdTableReader:
    """Reads the tables of a scanner, a bounded part in each collection: new processes first, then the others.

    Each round lists the processes. A table is read if it has never been read completely, or if the number of
    open descriptors has changed since. Before Linux 6.2, which reports that number, every table is read again
    in each round.
    """

    def __init__(self, scanner: FdScanner, clock: Callable[[], float] = time.monotonic) -> None:
        self._scanner = scanner
        self._clock = clock
        self._next_listing_at = -inf
        self._new = _Queue()
        self._known = _Queue()
        # pid -> number of open descriptors when they were last read completely; 0 if that is unknown. Tables
        # have such a number, too, which a search relies on: these reads do not make it skip a process.
        self._open_counts: dict[int, int] = {}

    def advance(self, live: Collection[int], units: int = UNITS_PER_COLLECTION) -> None:
        """Read descriptors of at most this cost, or until the round is complete.

        live: inodes of all sockets; descriptors that had one of them are not read again.

        Raises OSError if there is no /proc.
        """
        if not self._new.pids and self._clock() >= self._next_listing_at:
            self._list_processes()
            self._next_listing_at = self._clock() + ROUND_SECONDS
        for queue, units_per_fd in ((self._new, 1), (self._known, _UNITS_PER_REREAD_FD)):
            while queue.pids and units > 0:
                units -= self._read_process(queue, live, units, units_per_fd)

    def _list_processes(self) -> None:
        pids = self._scanner.list_pids()
        known = self._open_counts
        self._open_counts = {pid: known[pid] for pid in pids if pid in known}
        self._new.pids = [pid for pid in reversed(pids) if pid not in known]
        if not self._known.pids:
            self._known.pids = [pid for pid in reversed(pids) if pid in known]

    def _read_process(self, queue: _Queue, live: Collection[int], units: int, units_per_fd: int) -> int:
        """Read a part of the next process, and remove it from the queue after the last one. Return the cost.

        Unreadable processes are skipped.
        """
        pid, cost = queue.pids[-1], 0
        try:
            if queue.part is None:
                cost, queue.part = self._begin(pid, live)
            if queue.part is not None:
                fd_count = max((units - cost) // units_per_fd, 1)
                cost += queue.part.read(fd_count) * units_per_fd
        except OSError:  # the process has vanished or is not readable
            self._scanner.forget(pid)
            queue.part, cost = None, cost + _UNITS_PER_CHECK
        if queue.part is None or not queue.part.fds:
            self._open_counts[pid] = queue.part.open_count if queue.part else self._open_counts.get(pid, 0)
            queue.pids.pop()
            queue.part = None
        return cost

    def _begin(self, pid: int, live: Collection[int]) -> tuple[int, _Part | None]:
        """Return the cost, and what is to be read of a process; None for nothing."""
        table = self._scanner.table_of(pid)
        if self._scanner.is_in_other_netns(table):
            return _UNITS_PER_CHECK, None
        open_count = table.count_open()
        # The search for owners has possibly read it: at 72,000 descriptors listing them again takes 25 ms.
        if open_count and (open_count == self._open_counts.get(pid) or table.is_unchanged()):
            self._open_counts[pid] = open_count
            return _UNITS_PER_CHECK, None
        part = _Part(table, table.unknown_fds(live), open_count)
        return _UNITS_PER_CHECK + open_count // _LISTED_FDS_PER_UNIT, part


class _Queue:
    """Processes that are to be checked."""

    def __init__(self) -> None:
        self.pids: list[int] = []
        """In descending order: the last one is the next."""
        self.part: _Part | None = None
        """Rest of the next process, if it has been read in part."""


class _Part:
    """Descriptors of a process that are to be read, possibly in several collections."""

    def __init__(self, table: FdTable, fds: list[int], open_count: int) -> None:
        self.fds = fds
        self.open_count = open_count
        """Number of open descriptors before they were listed."""
        self._table = table

    def read(self, max_fds: int) -> int:
        """Read the next descriptors. Return their number."""
        fds = self.fds[:max_fds]
        if fds:
            self._table.read_fds(fds)
        del self.fds[: len(fds)]
        return len(fds)
