"""Searches the file descriptors of all processes for inodes, likely descriptors first.

Scanning all of 75,000 descriptors takes 185 ms. The search therefore starts with descriptors whose sockets
were closed, continues with processes whose number of descriptors has changed, and scans all others only
within a maximum share of the time.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection, Container, Iterable, Iterator, Mapping, Set
from functools import partial
from itertools import chain
from pathlib import Path
from types import MappingProxyType
from typing import Final

from ..model.sockets import NO_OWNER_KEY
from ..procfs.process_reader import list_pids, read_network_namespace
from .fd_table import FdTable
from .resolver import failure_reason

FoundInodes = Iterator[tuple[list[int], int]]
"""(inodes, pid): inodes of some of the sockets that a process has open."""

ClosedFds = Mapping[int, Collection[int]]
"""pid -> file descriptors whose sockets were closed."""

# Maximum share of the time for scanning processes that seem unchanged.
_FULL_SCAN_TIME_SHARE: Final = 0.005


class FdScanner:
    """Searches the descriptor tables of all readable processes in this network namespace, which it keeps."""

    def __init__(self, procfs: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._procfs = procfs
        self._clock = clock
        # Processes in other network namespaces (containers) are not read.
        self._namespace = read_network_namespace(f"{procfs}/self")
        self._tables: dict[int, FdTable] = {}
        # Processes all of whose descriptors have been read in this search, since they were unknown.
        self._just_read_pids: set[int] = set()
        self._next_full_scan_at = 0.0
        self.unreadable_processes: Counter[str] = Counter()
        """Number of processes that were not readable, by reason, when all of them were last tried."""
        self._unreadable_in_search = self.unreadable_processes
        self.has_hidden_processes = False
        """Whether processes of other users are invisible (/proc mounted with hidepid)."""

    def search(
        self, wanted: Collection[int], live: Callable[[], set[int]], closed: ClosedFds = MappingProxyType({})
    ) -> FoundInodes:
        """Yield the inodes found until every wanted one is found or all processes are scanned.

        A process may be yielded more than once. In each pass pids are in ascending order, init last.

        live: returns the inodes of all sockets. closed: descriptors to read first.

        Raises OSError if there is no /proc.
        """
        missing = set(wanted)
        for inodes, pid in chain(self._scan_closed_fds(closed), self._scan_rest(live, missing)):
            missing.difference_update(inodes)
            yield inodes, pid
            if not missing:
                return

    def closed_fds(self, live: Container[int]) -> dict[int, dict[int, int]]:
        """Return pid -> fd -> inode of the descriptors whose sockets, when last read, are not live now."""
        return {pid: closed for pid, table in self._tables.items() if (closed := table.closed_sockets(live))}

    def has_open(self, pid: int, inodes: Collection[int]) -> bool | None:
        """Return whether the process with this pid now has one of these sockets open.

        None if the descriptors of these sockets are unknown.
        """
        table = self._tables.get(pid)
        try:
            return table.has_open(inodes) if table else False
        except OSError:
            return False

    def forget(self, pid: int) -> None:
        """Drop the table of a process that has vanished: the pid may be reused."""
        self._tables.pop(pid, None)

    def tables_of(self, pids: Container[int]) -> Iterator[FdTable]:
        """Return the tables of these processes."""
        return (table for table in self._tables.values() if table.pid in pids)

    def _scan_closed_fds(self, closed: ClosedFds) -> FoundInodes:
        for table in self._same_netns_tables():
            yield from self._skip_unreadable(table, table.read_freed(closed.get(table.pid, ())))

    def _scan_rest(self, live: Callable[[], set[int]], missing: Set[int]) -> FoundInodes:
        resolved = live().difference(missing, {NO_OWNER_KEY})
        for scan in (self._scan_freed_fds, self._scan_changed_processes, self._scan_all):
            yield from scan(resolved)

    def _scan_freed_fds(self, live: Set[int]) -> FoundInodes:
        """Scan descriptors whose sockets are not live: they had no owner, or were not TCP."""
        for table in self._same_netns_tables():
            yield from self._skip_unreadable(table, table.read_freed(table.closed_sockets(live)))

    def _scan_changed_processes(self, live: Set[int]) -> FoundInodes:
        self._unreadable_in_search = Counter()
        pids = list_pids(self._procfs)
        self.has_hidden_processes = 1 not in pids
        self._tables = {pid: self._tables.get(pid) or FdTable(self._procfs, pid) for pid in pids}
        tables = self._same_netns_tables()
        self._just_read_pids = {table.pid for table in tables if not len(table)}
        for table in tables:
            yield from self._skip_unreadable(table, _unless_unchanged(table, table.read_non_sockets))
        # Only now: a search that finds all sockets earlier has not tried every process.
        self.unreadable_processes = self._unreadable_in_search
        for table in tables:
            yield from self._skip_unreadable(
                table, _unless_unchanged(table, partial(table.read_unknown, live))
            )

    def _scan_all(self, live: Set[int]) -> FoundInodes:
        started = self._clock()
        if started < self._next_full_scan_at:
            return
        tables = [table for table in self._tables.values() if table.pid not in self._just_read_pids]
        try:
            for table in tables:
                yield from self._skip_unreadable(table, table.read_non_sockets())
            for table in tables:
                yield from self._skip_unreadable(table, table.read_unknown(live))
            for table in tables:
                yield from self._skip_unreadable(table, table.read_all())
        finally:
            finished = self._clock()
            self._next_full_scan_at = finished + (finished - started) / _FULL_SCAN_TIME_SHARE

    def _same_netns_tables(self) -> list[FdTable]:
        return [table for table in self._tables.values() if not table.in_other_netns(self._namespace)]

    def _skip_unreadable(self, table: FdTable, chunks: Iterable[list[int]]) -> FoundInodes:
        """Yield the inodes with the pid. Count and drop a process that has vanished or is not readable."""
        if table.pid not in self._tables:
            return
        try:
            for inodes in chunks:
                yield inodes, table.pid
        except OSError as error:
            self._tables.pop(table.pid, None)
            self._unreadable_in_search[failure_reason(error)] += 1


def _unless_unchanged(table: FdTable, read: Callable[[], Iterator[list[int]]]) -> Iterator[list[int]]:
    if not table.is_unchanged():
        yield from read()
