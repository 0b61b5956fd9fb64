"""Owner resolution on Linux: from the inode of a socket to its process, through /proc/PID/fd."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable
from itertools import chain, filterfalse
from typing import Final

from ..model.process import Owner, ProcessId, Unowned
from ..model.sockets import NO_OWNER_KEY
from .fd_scanner import ClosedFds, FdScanner, FoundInodes
from .owner_table import MAX_ENTRIES_RATIO, CachedOwnerResolver, OwnerTable
from .process_cache import ProcessCache
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
        # (inodes, pid): sockets that a process has released since the previous collection, closed ones
        # included.
        self._released: list[tuple[list[int], int]] = []
        # (pid, inodes): those of them that still exist, so that another process has them.
        self._transferred: list[tuple[int, set[int]]] = []
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

    def refresh(self) -> set[Owner]:
        """Return owners whose sockets must be re-resolved.

        A socket passed to another process is detected in the second collection after the transfer, because
        only the socket dump tells whether a released socket was closed.
        """
        stale: set[Owner] = set(self._processes.refresh())
        if stale:
            self._owners = OwnerTable(entry for entry in self._owners.items() if entry[1] not in stale)
        for owner in stale:
            if isinstance(owner, ProcessId):
                self._scanner.forget(owner.pid)
        for pid, inodes in self._transferred:
            stale |= self._drop_owner(pid, inodes)
        self._transferred = []
        self._released = [found for found in self._scanner.find_released() if found[0]]
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
        unknown = set(filterfalse(self._owners.__contains__, owner_keys))
        if wanted := unknown.difference(self._unresolved, {NO_OWNER_KEY}):
            closed = self._drop_closed(live.all())
            # If this raises, no inode is marked as unresolved: the next collection searches again.
            self._assign(self._scanner.search(wanted, live.all, closed), wanted)
            self._back_off(wanted - self._owners.keys())
        for inodes, pid in self._released:
            self._transferred.append((pid, live.all().intersection(inodes)))
        self._released = []

    def _drop_owner(self, pid: int, inodes: Iterable[int]) -> set[ProcessId]:
        """Drop the process as owner of these sockets. Return the owners that were dropped."""
        owned = [inode for inode in inodes if inode in self._owners and self._owners[inode].pid == pid]
        owners = {self._owners[inode] for inode in owned}
        self._owners = self._owners.drop(owned)
        return owners

    def _assign(self, found_inodes: FoundInodes, wanted: set[int]) -> None:
        """Make the first process found with a socket its owner: of forked processes, the lowest pid."""
        owners: dict[int, ProcessId] = {}
        candidates = wanted | self._unresolved
        for inodes, pid in found_inodes:
            sockets = candidates.intersection(inodes)
            unassigned = set(filterfalse(self._owners.__contains__, sockets))
            if unassigned and pid not in owners and (owner := self._load(pid, sockets)):
                owners[pid] = owner
            if unassigned and pid in owners:
                self._owners.update(dict.fromkeys(unassigned, owners[pid]))

    def _load(self, pid: int, sockets: set[int]) -> ProcessId | None:
        """Return the process in which these sockets were found; None if another process has the pid now."""
        try:
            owner = self._processes.load(pid)
        except OSError as error:
            self._scanner.unreadable_processes[failure_reason(error)] += 1
            return None
        is_same = not self._processes.is_recent(owner) or self._scanner.has_open(pid, sockets) is not False
        return owner if is_same else None

    def _drop_closed(self, live: set[int]) -> ClosedFds:
        """Drop the owners of closed sockets. Return the file descriptors of these sockets.

        Closed sockets that no descriptor table contains are dropped later, when there are many of them.
        """
        closed_fds = self._scanner.closed_fds(live)
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
