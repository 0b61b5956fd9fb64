"""Finds dead file descriptors: open ones whose TCP socket is in no kernel table (model/dead_fds.py).

The descriptor tables of FdScanner contain sockets that are absent from the dump of a collection: sockets of
other protocols, sockets closed since the table was read, sockets of other network namespaces, and dead ones.
A socket is dead if

- two successive dumps lack it (AbsentSockets);
- the second one included the bound-only sockets, or an earlier dump contained the socket with a connection;
- its protocol is TCP, or MPTCP and the MPTCP table lacks it as well;
- a descriptor that is read after the second dump still has it.

Before Linux 6.8 no dump contains bound-only sockets: there they count as sockets that were never connected.
"""

from __future__ import annotations

import sys
import time
from bisect import bisect_left
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from itertools import chain, islice, repeat
from typing import Final, Protocol

from ..model.dead_fds import DeadFd
from ..model.process import Owner, ProcessId
from ..model.sockets import fast_maker
from .absent_sockets import AbsentSockets
from .fd_scanner import FdScanner
from .fd_table import FdTable
from .fd_table_reader import UNLIMITED_UNITS, FdTableReader
from .process_cache import ProcessCache

# Maximum number of descriptors that are checked for the first time in one collection, at 7 us each.
_CHECKS_PER_COLLECTION: Final = 5_000
# Number of dead descriptors that are read again in one collection, at 3 us each, to notice that they were
# closed. All are read again where the number of open descriptors of the process has fallen.
_RECHECKS_PER_COLLECTION: Final = 500
_MIN_RECHECKS_PER_PROCESS: Final = 32

_make_dead_fd = fast_maker(DeadFd)


class SocketTables(Protocol):
    """The kernel's tables, one of which contains every TCP socket that is not dead."""

    @property
    def has_current_bound_only(self) -> bool:
        """Whether the last dump has read the bound-only sockets, instead of returning earlier ones."""

    def bound_only_owner_keys(self) -> Collection[int]:
        """Return the owner keys of the bound-only sockets of the last dump."""

    def owner_keys(self) -> set[int]:
        """Return the owner keys of all TCP sockets, from a dump that begins now."""

    def mptcp_owner_keys(self) -> set[int] | None:
        """Return the owner keys of all MPTCP sockets, from a dump that begins now; None if unavailable."""


class DeadFdFinder:
    """Finds the dead descriptors of all readable processes in this network namespace.

    In each collection, observe() is called before owners are resolved, and find() after.
    """

    def __init__(
        self,
        scanner: FdScanner,
        processes: ProcessCache,
        tables: SocketTables,
        read_protocol: Callable[[str], str],
        clock: Callable[[], float] = time.monotonic,
        *,
        long_running: bool,
    ) -> None:
        """Prepare the first collection.

        read_protocol: path of a descriptor in /proc -> protocol of the socket, empty if it is not reported.
            Raises OSError.
        long_running: whether further collections follow. If not, the first one reads all descriptors, and
            makes a second dump if sockets are absent from the first one.
        """
        self._scanner = scanner
        self._processes = processes
        self._tables = tables
        self._read_protocol = read_protocol
        self._clock = clock
        self._long_running = long_running
        self._reader = FdTableReader(scanner, clock)
        self._absent = AbsentSockets()
        self._closed_fds: Mapping[int, Mapping[int, int]] = {}
        self._dumped_at = 0.0
        self._checked: dict[FdTable, _CheckedProcess] = {}
        self._checks_left = self._rechecks_left = 0
        self._mptcp: Collection[int] | None = None

    def observe(self, live: set[int], listening: Iterable[int], owner_of: Callable[[int], Owner]) -> None:
        """Note which sockets of the descriptor tables are absent from the dump of this collection.

        No table must have been read since the dump began.

        live: owner keys of all sockets of this collection. listening: those of listeners.
        owner_of: owner key -> owner in the previous collection.
        """
        self._dumped_at = self._clock()
        self._closed_fds = self._scanner.keep_closed_fds(live)
        absent = set(chain.from_iterable(fds.values() for fds in self._closed_fds.values()))
        unconnected = chain(listening, self._tables.bound_only_owner_keys())
        self._absent.update(absent, self._dumped_at, owner_of, unconnected)

    def find(self, live: set[int], owner_of: Callable[[int], Owner]) -> list[DeadFd]:
        """Return the dead descriptors, by ascending pid.

        live, owner_of: as for observe(), the latter after owners have been resolved.

        Raises OSError if there is no /proc, RuntimeError if the kernel does not report protocols of sockets,
        and what reading the kernel's tables raises.
        """
        self._scanner.drop_closed_fds()
        if self._long_running:
            dead = self._find_dead(_CHECKS_PER_COLLECTION, _RECHECKS_PER_COLLECTION)
            self._reader.advance(live)
            return dead
        self._reader.advance(live, UNLIMITED_UNITS)
        self.observe(live, (), owner_of)
        self._read_all_protocols()
        if not self._absent.has_tcp():
            return []
        # The tables have been read after the first dump, which may lack a socket because it is newer.
        self.observe(self._tables.owner_keys(), (), owner_of)
        self._scanner.drop_closed_fds()
        return self._find_dead(sys.maxsize, sys.maxsize)

    def _read_all_protocols(self) -> None:
        for pid, fds in self._closed_fds.items():
            with suppress(OSError):  # the process has vanished or is not readable
                self._read_protocols(self._scanner.table_of(pid), fds)

    def _find_dead(self, checks: int, rechecks: int) -> list[DeadFd]:
        self._checks_left, self._rechecks_left, self._mptcp = checks, rechecks, None
        candidates = self._absent.candidates(has_current_bound_only=self._tables.has_current_bound_only)
        previous, self._checked = self._checked, {}
        dead: list[DeadFd] = []
        # Of processes that share a socket the lowest pid has it, init last, as for owners.
        tables = [(self._scanner.table_of(pid), fds) for pid, fds in self._closed_fds.items()]
        for table, fds in sorted(tables, key=lambda entry: (entry[0].pid == 1, entry[0].pid)):
            if candidates.isdisjoint(fds.values()):
                continue
            process = previous.get(table) or _CheckedProcess()
            try:
                if not candidates.issuperset(fds.values()):
                    fds = {fd: inode for fd, inode in fds.items() if inode in candidates}
                self._check(table, fds, process)
                owner = self._load(table, process)
            except OSError:  # the process has vanished or is not readable
                self._scanner.forget(table.pid)
                continue
            self._checked[table] = process
            if owner is not None:
                dead += self._build(owner, process.sockets.values())
                candidates.difference_update(process.sockets.values())
        self._closed_fds = {}
        return dead

    def _check(self, table: FdTable, candidates: Mapping[int, int], process: _CheckedProcess) -> None:
        """Update the dead descriptors of a process. candidates: fd -> inode."""
        if self._scanner.is_in_other_netns(table):
            # Its other sockets are in the tables of its own namespace.
            flags = zip(candidates, self._absent.was_connected(candidates.values()), strict=True)
            candidates = {fd: candidates[fd] for fd, was_connected in flags if was_connected}
        # The search for owners may have read some of them since.
        known = table.known_sockets(candidates)
        if known == process.sockets:
            checked, unchecked = known, {}
        else:
            checked = {fd: inode for fd, inode in known.items() if process.sockets.get(fd) == inode}
            unchecked = {fd: inode for fd, inode in known.items() if fd not in checked}
        checked = self._recheck(table, checked, process)
        process.sockets = {**checked, **self._check_first(table, unchecked)} if unchecked else checked

    def _recheck(self, table: FdTable, sockets: dict[int, int], process: _CheckedProcess) -> dict[int, int]:
        """Return those of these dead descriptors that are still open, as far as they are read again."""
        open_count, limit = table.count_open(), max(self._rechecks_left, _MIN_RECHECKS_PER_PROCESS)
        fds = sorted(sockets)
        if len(fds) > limit and open_count >= process.open_count:
            start = bisect_left(fds, process.next_recheck)
            fds = fds[start : start + limit]
            process.next_recheck = fds[-1] + 1 if len(fds) == limit else 0
        process.open_count = open_count
        self._rechecks_left -= len(fds)
        if fds:
            table.reread(fds)
        return table.known_sockets(sockets)

    def _check_first(self, table: FdTable, candidates: Mapping[int, int]) -> dict[int, int]:
        """Return those of these candidates that are dead. Those above the limit are not checked."""
        sockets = dict(islice(candidates.items(), max(self._checks_left, 0)))
        self._checks_left -= len(sockets)
        still_open = self._read_protocols(table, sockets)
        dead = self._absent.confirm(still_open.values(), self._read_mptcp)
        return {fd: inode for fd, inode in still_open.items() if inode in dead}

    def _read_protocols(self, table: FdTable, sockets: Mapping[int, int]) -> dict[int, int]:
        """Read the protocols of absent sockets. Return those of these descriptors that are still open."""
        protocols: dict[int, str] = {}
        for fd, inode in sockets.items():
            if not self._absent.has_protocol(inode):
                with suppress(FileNotFoundError):
                    protocols[inode] = self._read_protocol(table.fd_path(fd))
        # Also confirms that the protocol is that of this socket.
        table.reread(list(sockets))
        still_open = table.known_sockets(sockets)
        for inode in protocols.keys() & still_open.values():
            if not protocols[inode]:
                raise RuntimeError("the kernel does not report the protocols of sockets")
            self._absent.set_protocol(inode, protocols[inode])
        return still_open

    def _read_mptcp(self) -> Collection[int] | None:
        """Return the MPTCP sockets, which are dumped once in a collection; None if they are unavailable."""
        if self._mptcp is None:
            self._mptcp = self._tables.mptcp_owner_keys()
        return self._mptcp

    def _load(self, table: FdTable, process: _CheckedProcess) -> ProcessId | None:
        """Return the process with these dead descriptors; None if it has none."""
        if not process.sockets:
            return None
        owner = self._processes.load(table.pid)
        if self._processes.is_recent(owner):
            # Another process may have got the pid since the descriptors were read.
            table.reread(list(process.sockets))
            process.sockets = table.known_sockets(process.sockets)
        return owner

    def _build(self, owner: ProcessId, inodes: Collection[int]) -> Iterator[DeadFd]:
        ages = (self._dumped_at - since for since in self._absent.since(inodes))
        return map(_make_dead_fd, zip(repeat(owner), self._absent.was_connected(inodes), ages, strict=False))


class _CheckedProcess:
    """Dead descriptors of a process, when last checked."""

    def __init__(self) -> None:
        self.sockets: dict[int, int] = {}
        """fd -> inode."""
        self.open_count = 0
        self.next_recheck = 0
        """Descriptor at which the next collection continues."""
