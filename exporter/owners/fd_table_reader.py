"""Reads the descriptor tables of processes that no search for sockets has read completely.

A search stops when it has found all sockets. A process none of whose sockets is in the kernel's tables might
never be read, and dead file descriptors that were never seen with a connection would not be found.
"""

from __future__ import annotations

import sys
from collections.abc import Collection
from typing import Final

from .fd_scanner import FdScanner
from .fd_table import FdTable

UNITS_PER_COLLECTION: Final = 2_000
"""Cost of what one collection reads, in descriptors that are read for the first time: 5 to 8 ms."""
UNLIMITED_UNITS: Final = sys.maxsize

# Descriptors of a process that was complete before are read at a quarter of the speed: on a busy host the
# numbers of open descriptors change all the time.
_UNITS_PER_REREAD_FD: Final = 4
# Checking whether anything has changed. Processes that have been read are checked more rarely: 200 of them
# every fourth collection.
_UNITS_PER_FIRST_CHECK: Final = 4
_UNITS_PER_OTHER_NETNS: Final = 8
_UNITS_PER_CHECK: Final = 32
# Listing descriptors takes an eighth of the time of reading them.
_LISTED_FDS_PER_UNIT: Final = 8


class FdTableReader:
    """Reads the tables of a scanner in rotation, a bounded part in each collection.

    A table is read if it has never been read completely, or if the number of open descriptors has changed
    since. Before Linux 6.2, which reports that number, every table is read again in each round.
    """

    def __init__(self, scanner: FdScanner) -> None:
        self._scanner = scanner
        # Processes of this round that have not been checked yet, in descending order.
        self._pids: list[int] = []
        self._part: _Part | None = None

    def advance(self, live: Collection[int], units: int = UNITS_PER_COLLECTION) -> None:
        """Read descriptors of at most this cost, or until each process has been checked once.

        live: inodes of all sockets; descriptors that had one of them are not read again.

        Raises OSError if there is no /proc.
        """
        if not self._pids:
            self._pids = self._scanner.list_pids()[::-1]
        while self._pids and units > 0:
            try:
                units -= self._read_process(self._pids[-1], live, units)
            except OSError:  # the process has vanished or is not readable
                self._part = None
                self._scanner.forget(self._pids[-1])
                units -= _UNITS_PER_CHECK
            if self._part is None:
                self._pids.pop()

    def _read_process(self, pid: int, live: Collection[int], units: int) -> int:
        """Read a part of a process, which is the last one if `_part` is None then. Return its cost."""
        cost = 0
        if self._part is None:
            table = self._scanner.table_of(pid)
            if self._scanner.is_in_other_netns(table):
                return _UNITS_PER_OTHER_NETNS
            was_complete, open_count = table.was_complete(), table.count_open()
            cost = _UNITS_PER_CHECK if was_complete else _UNITS_PER_FIRST_CHECK
            if table.is_unchanged():
                return cost
            self._part = _Part(table, table.unknown_fds(live), open_count, was_complete=was_complete)
            cost += open_count // _LISTED_FDS_PER_UNIT
        return cost + self._read_part(self._part, units - cost)

    def _read_part(self, part: _Part, units: int) -> int:
        units_per_fd = _UNITS_PER_REREAD_FD if part.was_complete else 1
        fds = part.remaining[: max(units // units_per_fd, 1)]
        part.table.read_part(fds)
        del part.remaining[: len(fds)]
        if not part.remaining:
            part.table.mark_complete(part.open_count)
            self._part = None
        return len(fds) * units_per_fd


class _Part:
    """Rest of a table that is being read in several collections."""

    def __init__(self, table: FdTable, remaining: list[int], open_count: int, *, was_complete: bool) -> None:
        self.table = table
        self.remaining = remaining
        self.open_count = open_count
        self.was_complete = was_complete
