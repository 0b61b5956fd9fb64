"""Searches the file descriptors of all processes for inodes, likely descriptors first.

Scanning all of 75,000 descriptors takes 185 ms. The search therefore starts with descriptors whose sockets
were closed, continues with processes whose number of descriptors has changed, and scans all others only
within a maximum share of the time.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection, Container, Iterable, Iterator, Mapping, Set
from contextlib import suppress
from functools import partial
from itertools import chain
from operator import itemgetter
from pathlib import Path
from types import MappingProxyType
from typing import Final

from ..model.sockets import NO_OWNER_KEY
from ..procfs.process_reader import list_pids, read_network_namespace
from .fd_table import FdTable
from .read_budget import ReadBudget
from .resolver import failure_reason
from .thread_tables import ThreadTableFinder

FoundInodes = Iterator[tuple[list[int], int]]
"""(inodes, pid): inodes of some of the sockets that a process has open."""

ClosedFds = Mapping[int, Collection[int]]
"""Thread id (that of the process, as a rule) -> file descriptors whose sockets were closed."""

# Maximum share of the time for scanning processes that seem unchanged.
_FULL_SCAN_TIME_SHARE: Final = 0.005

# Budget for holders that are rare, in descriptors: new processes of other network namespaces, and io_uring.
# Maximum in one search, and what each search adds.
_MAX_RARE_READS: Final = 16_384
_RARE_READS_ALLOWANCE: Final = 1024
# Number of descriptors assumed where the kernel does not report it, before Linux 6.2.
_ASSUMED_OPEN_COUNT: Final = 64
# Cost of reading one io_uring instance, as a number of descriptors.
_IO_URING_COST: Final = 16


class FdScanner:
    """Searches the descriptor tables of all readable processes in this network namespace, which it keeps."""

    def __init__(self, procfs: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._procfs = procfs
        self._clock = clock
        # Processes in other network namespaces (containers) are read once, and not again unless they have
        # sockets of this one.
        self._namespace = read_network_namespace(f"{procfs}/self")
        # By thread id: that of the process, or of a thread that has descriptors of its own.
        self._tables: dict[int, FdTable] = {}
        # pid -> threads with descriptors of their own.
        self._tids_with_own_fds: dict[int, set[int]] = {}
        # Processes all of whose descriptors have been read in this search, since they were unknown.
        self._just_read_pids: set[int] = set()
        self._next_full_scan_at = 0.0
        self._threads = ThreadTableFinder(procfs)
        self._rare_reads = ReadBudget(_MAX_RARE_READS)
        self.unreadable_processes: Counter[str] = Counter()
        """Number of processes that were not readable, by reason, when all of them were last tried."""
        self._unreadable_in_search = self.unreadable_processes
        # (live, result) of keep_closed_fds().
        self._kept_closed_fds: tuple[Container[int], dict[int, dict[int, int]]] | None = None
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
        """Return thread id -> fd -> inode of the descriptors whose sockets, when last read, are not live now.

        The thread id is the pid, except for a thread that has descriptors of its own.
        """
        if self._kept_closed_fds and self._kept_closed_fds[0] is live:
            return self._kept_closed_fds[1]
        closed_by_table = ((table.tid, table.closed_sockets(live)) for table in self._tables_here())
        return {tid: closed for tid, closed in closed_by_table if closed}

    def keep_closed_fds(self, live: Container[int]) -> dict[int, dict[int, int]]:
        """Return closed_fds(live), and keep it for calls with the same set until drop_closed_fds().

        Two steps of a collection need it, and it takes 4 ms at 75,000 descriptors.
        """
        self._kept_closed_fds = live, self.closed_fds(live)
        return self._kept_closed_fds[1]

    def drop_closed_fds(self) -> None:
        """Drop the kept result, which refers to the inodes of all sockets."""
        self._kept_closed_fds = None

    def list_pids(self) -> list[int]:
        """Return the visible pids in ascending order, but init last. Raises OSError if there is no /proc."""
        return list_pids(self._procfs)

    def table_of(self, tid: int) -> FdTable:
        """Return the table of a thread id, an empty one of a process if there is none."""
        return self._tables.setdefault(tid, FdTable(self._procfs, tid))

    def is_in_other_netns(self, table: FdTable) -> bool:
        """Return whether the process is known to be in another network namespace than the exporter."""
        return table.in_other_netns(self._namespace)

    def has_open(self, pid: int, inodes: Collection[int]) -> bool | None:
        """Return whether the process with this pid now has one of these sockets open.

        None if the descriptors of these sockets are unknown.
        """
        answers: set[bool | None] = set()
        for table in self._tables_with_pid(pid):
            try:
                answers.add(table.has_open(inodes))
            except OSError:
                answers.add(False)
        if True in answers:
            return True
        return None if None in answers else False

    def forget(self, pid: int) -> None:
        """Drop the tables of a process that has vanished: the pid may be reused."""
        for table in self._tables_with_pid(pid):
            del self._tables[table.tid]
        self._tids_with_own_fds.pop(pid, None)

    def tables_of(self, pids: Container[int]) -> Iterator[FdTable]:
        """Return the tables of these processes, and of their threads with descriptors of their own."""
        return (table for table in self._tables.values() if table.pid in pids)

    def count_load_failure(self, pid: int, reason: str) -> None:
        """Count a process with unreadable attributes, also in later searches until it vanishes."""
        table = self._tables.get(pid)
        if table is None or table.load_failure is None:
            self.unreadable_processes[reason] += 1
        if table is not None and reason != "vanished":
            table.load_failure = reason

    def take_lost(self, live: Container[int]) -> list[tuple[FdTable, set[int]]]:
        """Return the live sockets that searches have found to be no longer where they were, by table."""
        lost = ((table, table.take_lost(live)) for table in self._tables.values())
        return [(table, inodes) for table, inodes in lost if inodes]

    def released_by(self, table: FdTable, inodes: Set[int]) -> set[int]:
        """Return which of the sockets that a table has lost its process has in no other table.

        The next search also reads descriptors that seem unchanged: it may have moved them.
        """
        released = set(inodes)
        for other in self._tables_with_pid(table.pid):
            released -= other.contains(released)
        if released:
            table.mark_changed()
        return released

    def _scan_closed_fds(self, closed: ClosedFds) -> FoundInodes:
        for table in self._tables_here():
            yield from self._skip_unreadable(table, table.read_freed(closed.get(table.tid, ())))

    def _scan_rest(self, live: Callable[[], set[int]], missing: Set[int]) -> FoundInodes:
        resolved = live().difference(missing, {NO_OWNER_KEY})
        yield from self._scan_freed_fds(resolved)
        yield from self._scan_changed_processes(resolved)
        yield from self._scan_rare_holders(live())
        yield from self._scan_all(resolved, live())

    def _scan_freed_fds(self, live: Set[int]) -> FoundInodes:
        """Scan descriptors whose sockets are not live: they had no owner, or were not TCP."""
        for table in self._tables_here():
            yield from self._skip_unreadable(table, table.read_freed(table.closed_sockets(live)))

    def _scan_changed_processes(self, live: Set[int]) -> FoundInodes:
        self._unreadable_in_search = Counter()
        self._update_tables(list_pids(self._procfs))
        tables = self._tables_here()
        self._just_read_pids = {table.pid for table in tables if not len(table)}
        for table in tables:
            yield from self._skip_unreadable(table, _unless_unchanged(table, table.read_non_sockets))
        # Only now: a search that finds all sockets earlier has not tried every process.
        self.unreadable_processes = self._unreadable_in_search
        self.unreadable_processes.update(filter(None, (table.failure for table in self._tables_elsewhere())))
        load_failures = (table.load_failure for table in self._tables.values())
        self.unreadable_processes.update(filter(None, load_failures))
        for table in tables:
            yield from self._skip_unreadable(
                table, _unless_unchanged(table, partial(table.read_unknown, live))
            )

    def _update_tables(self, pids: Collection[int]) -> None:
        """Add tables of new processes, and drop those of processes that have vanished."""
        known = self._tables
        self.has_hidden_processes = 1 not in pids
        self._tables = {
            pid: known[pid] if pid in known and known[pid].pid == pid else FdTable(self._procfs, pid)
            for pid in pids
        }
        for tid, table in known.items():
            if tid != table.pid and tid not in self._tables and table.pid in self._tables:
                self._tables[tid] = table

    def _scan_rare_holders(self, live: Set[int]) -> FoundInodes:
        """Scan io_uring instances, and once each new process of another network namespace."""
        self._rare_reads.refill(_RARE_READS_ALLOWANCE)
        for table in self._tables_here():
            cost = _IO_URING_COST * len(table.io_uring_fds)
            if cost and self._rare_reads.affords(cost):
                found = list(self._skip_unreadable(table, map(FdTable.read_io_uring, [table])))
                self._rare_reads.spend(cost + sum(len(inodes) for inodes, _ in found))
                yield from found
        new = [table for table in self._tables_elsewhere() if not table.was_read]
        for cost, table in self._by_cost(new):
            if not self._rare_reads.affords(cost):
                return
            self._rare_reads.spend(cost)
            self._just_read_pids.add(table.pid)
            yield from self._skip_unreadable(table, _note_live(table, table.read_all(), live))

    def _by_cost(self, tables: Iterable[FdTable]) -> list[tuple[int, FdTable]]:
        """Return the processes with their number of descriptors, the lowest first."""
        counts: list[tuple[int, FdTable]] = []
        for table in tables:
            with suppress(OSError):
                counts.append((table.count_open(), table))
        if not any(count for count, _ in counts):
            return [(_ASSUMED_OPEN_COUNT, table) for _, table in counts]
        return sorted(counts, key=itemgetter(0))

    def _scan_all(self, resolved: Set[int], live: Set[int]) -> FoundInodes:
        started = self._clock()
        if started < self._next_full_scan_at:
            return
        for table in self._tables_elsewhere():
            table.forget_namespace()
        tables = [table for table in self._tables.values() if table.pid not in self._just_read_pids]
        try:
            for table in tables:
                yield from self._skip_unreadable(table, _note_live(table, table.read_non_sockets(), live))
            for table in tables:
                yield from self._skip_unreadable(table, _note_live(table, table.read_unknown(resolved), live))
            yield from self._scan_threads()
            for table in tables:
                yield from self._skip_unreadable(table, _note_live(table, table.read_all(), live))
        finally:
            finished = self._clock()
            self._next_full_scan_at = finished + (finished - started) / _FULL_SCAN_TIME_SHARE

    def _scan_threads(self) -> FoundInodes:
        processes = [table for table in self._tables_here() if table.tid == table.pid]
        for table in self._threads.find(processes, list(self._tables)):
            self._tables[table.tid] = table
            self._tids_with_own_fds.setdefault(table.pid, set()).add(table.tid)
            yield from self._skip_unreadable(table, table.read_all())

    def _tables_here(self) -> list[FdTable]:
        """Return the tables of processes in this network namespace, or with sockets of it."""
        return [table for table in self._tables.values() if self._is_here(table)]

    def _tables_elsewhere(self) -> list[FdTable]:
        return [table for table in self._tables.values() if not self._is_here(table)]

    def _is_here(self, table: FdTable) -> bool:
        return table.holds_sockets_here or not table.in_other_netns(self._namespace)

    def _tables_with_pid(self, pid: int) -> list[FdTable]:
        tids = (pid, *self._tids_with_own_fds.get(pid, ()))
        tables = map(self._tables.get, tids)
        return [table for table in tables if table is not None and table.pid == pid]

    def _skip_unreadable(self, table: FdTable, chunks: Iterable[list[int]]) -> FoundInodes:
        """Yield the inodes with the pid. Count and drop a process that has vanished or is not readable.

        One in another network namespace that is not readable is kept, and counted in every search: the reason
        why an owner is unknown must not change with the processes that a search tries.
        """
        if table.tid not in self._tables:
            return
        was_counted = table.failure is not None
        try:
            for inodes in chunks:
                table.failure = None
                yield inodes, table.pid
        except OSError as error:
            reason = failure_reason(error)
            if reason != "vanished" and not self._is_here(table):
                table.was_read, table.failure = True, reason
            else:
                self._tables.pop(table.tid, None)
            if table.tid == table.pid and not was_counted:
                self._unreadable_in_search[reason] += 1


def _note_live(table: FdTable, chunks: Iterable[list[int]], live: Set[int]) -> Iterator[list[int]]:
    """Note whether a process has sockets of this network namespace. It may be in another one."""
    for inodes in chunks:
        table.holds_sockets_here = table.holds_sockets_here or not live.isdisjoint(inodes)
        yield inodes


def _unless_unchanged(table: FdTable, read: Callable[[], Iterator[list[int]]]) -> Iterator[list[int]]:
    if not len(table) or not table.is_unchanged():
        yield from read()
