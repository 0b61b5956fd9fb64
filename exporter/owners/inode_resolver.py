"""Owner resolution on Linux: from the inode of a socket to its process, through /proc/PID/fd."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from itertools import chain, filterfalse
from typing import Final

from ..model.process import Owner, ProcessId, Unowned
from ..model.sockets import NO_OWNER_KEY
from .fd_scanner import ClosedFds, FdScanner, FoundInodes
from .owner_table import MAX_ENTRIES_RATIO, CachedOwnerResolver, OwnerTable
from .process_cache import ProcessCache
from .released_sockets import ReleasedSocketFinder
from .resolver import LiveOwnerKeys, failure_reason

# Time before unresolved inodes are searched for again; doubled up to the maximum while none is found.
RETRY_MIN_SECONDS: Final = 15.0
RETRY_MAX_SECONDS: Final = 300.0


class InodeOwnerResolver(CachedOwnerResolver):
    """Resolves inodes by searching the file descriptors of all processes.

    Without CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH only processes of the same user are readable.
    """

    def __init__(
        self, scanner: FdScanner, processes: ProcessCache, clock: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__(processes)
        self._scanner = scanner
        self._clock = clock
        self._unresolved: set[int] = set()
        # Unresolved inodes that are being searched for again in this collection.
        self._retrying: set[int] = set()
        self._released_sockets = ReleasedSocketFinder()
        # (pid, inodes): sockets that a process has released in this collection. They existed when the sockets
        # were read, so most are in another process; the others have been closed since.
        self._released: list[tuple[int, set[int]]] = []
        self._transferred: dict[int, ProcessId] = {}
        # Unresolved inodes that were found in a search for others.
        self._found_late: set[int] = set()
        self._retry_at = 0.0
        self._retry_delay_seconds = RETRY_MIN_SECONDS

    @property
    def unreadable_processes(self) -> Counter[str]:
        return self._scanner.unreadable_processes

    @property
    def unresolved_reason(self) -> str:
        if self._scanner.has_hidden_processes:
            return "hidden"
        failed = self.unreadable_processes["permission"] or self.unreadable_processes["error"]
        return "unreadable" if failed else "not_found"

    @property
    def transferred(self) -> Mapping[int, ProcessId]:
        return self._transferred

    def refresh(self) -> set[Owner]:
        """Return owners all of whose sockets must be re-resolved.

        Sockets that another process holds now are in `transferred`, in the collection after the one that
        found them released; so are those that were found after they had been unresolved.
        """
        stale: set[Owner] = set(self._processes.refresh())
        if stale:
            self._owners = OwnerTable(entry for entry in self._owners.items() if entry[1] not in stale)
        for owner in stale:
            if isinstance(owner, ProcessId):
                self._scanner.forget(owner.pid)
        # Sockets found late were classified as unresolved, like those that have another owner by now.
        found_late = self._owners.keys() & self._found_late
        self._found_late = set()
        self._transferred = {inode: self._owners[inode] for inode in found_late}
        for pid, inodes in self._released:
            self._transferred |= self._drop_owner(pid, inodes)
        self._released = []
        if self._clock() >= self._retry_at:
            self._retrying, self._unresolved = self._unresolved, set()
            if self._retrying:
                stale.add(Unowned.NOT_FOUND)
        return stale

    def revalidate(self, owner_keys: Iterable[int]) -> None:
        known = set(filter(self._owners.__contains__, owner_keys))
        self._owners = self._owners.drop(
            [inode for inode in known if self._scanner.has_open(self._owners[inode].pid, {inode}) is not True]
        )

    def resolve(self, owner_keys: Collection[int], live: LiveOwnerKeys) -> None:
        self._released_sockets.count_open(self._scanner.tables_of(self._processes.pids()))
        found, missing = Counter[int](), set[int]()
        unknown = set(filterfalse(self._owners.__contains__, owner_keys))
        if wanted := unknown.difference(self._unresolved, {NO_OWNER_KEY}):
            closed = self._drop_closed(live.all())
            # If this raises, no inode is marked as unresolved: the next collection searches again.
            found = self._assign(self._scanner.search(wanted, live.all, closed), wanted)
            missing = wanted - self._owners.keys()
            self._back_off(missing)
            self._released_sockets.add(self._scanner.tables_of(found), live.all())
        lost = self._scanner.take_lost(live.all()) if wanted else []
        rereads = self._released_sockets.find(self._owners.keys(), live.all, found, missing)
        for table, released, new in rereads:
            lost.append((table, released))
            if new:
                self._assign(iter([(new, table.pid)]), set())
        for table, inodes in lost:
            if existing := inodes and live.all().intersection(inodes):
                self._released.append((table.pid, self._scanner.released_by(table, existing)))

    def _drop_owner(self, pid: int, inodes: Iterable[int]) -> dict[int, ProcessId]:
        """Drop the process as owner of these sockets. Return those that it owned, with their owner."""
        owned = {inode: self._owners[inode] for inode in inodes if inode in self._owners}
        dropped = {inode: owner for inode, owner in owned.items() if owner.pid == pid}
        self._owners = self._owners.drop(dropped)
        return dropped

    def _assign(self, found_inodes: FoundInodes, wanted: set[int]) -> Counter[int]:
        """Make the first process found with a socket its owner: of forked processes, the lowest pid.

        Return the number of sockets by pid.
        """
        counts: Counter[int] = Counter()
        owners: dict[int, ProcessId] = {}
        candidates = wanted | self._unresolved
        for inodes, pid in found_inodes:
            sockets = candidates.intersection(inodes)
            unassigned = set(filterfalse(self._owners.__contains__, sockets))
            if unassigned and pid not in owners and (owner := self._load(pid, sockets)):
                owners[pid] = owner
            if unassigned and pid in owners:
                self._owners.update(dict.fromkeys(unassigned, owners[pid]))
                self._found_late |= self._unresolved & unassigned
                self._unresolved -= unassigned
                counts[pid] += len(unassigned)
        return counts

    def _load(self, pid: int, sockets: set[int]) -> ProcessId | None:
        """Return the process in which these sockets were found; None if another process has the pid now."""
        try:
            owner = self._processes.load(pid)
        except OSError as error:
            self._scanner.count_load_failure(pid, failure_reason(error))
            return None
        is_same = not self._processes.is_recent(owner) or self._scanner.has_open(pid, sockets) is not False
        return owner if is_same else None

    def _drop_closed(self, live: set[int]) -> ClosedFds:
        """Drop the owners of closed sockets. Return the file descriptors of these sockets.

        Closed sockets that no descriptor table contains are dropped later, when there are many of them.
        """
        closed_fds = self._scanner.closed_fds(live)
        self._released_sockets.count_live(closed_fds)
        closed = self._owners.keys() & chain.from_iterable(fds.values() for fds in closed_fds.values())
        if len(self._owners) - len(closed) > MAX_ENTRIES_RATIO * len(live):
            closed = self._owners.keys() - live
        self._owners = self._owners.drop(closed)
        return {pid: [fd for fd, inode in fds.items() if inode in closed] for pid, fds in closed_fds.items()}

    def _back_off(self, missing: set[int]) -> None:
        """Do not search for these inodes again before the retry time."""
        if missing and not self._unresolved:
            # A retry without any result: sockets that were closed in the meantime are no result.
            failed = not missing.isdisjoint(self._retrying) and self._owners.keys().isdisjoint(self._retrying)
            self._retry_delay_seconds = (
                min(2 * self._retry_delay_seconds, RETRY_MAX_SECONDS) if failed else RETRY_MIN_SECONDS
            )
            self._retry_at = self._clock() + self._retry_delay_seconds
        self._unresolved |= missing
