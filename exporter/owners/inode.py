"""Who holds a socket: inode -> process through /proc/PID/fd (Linux)."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable
from itertools import chain, filterfalse
from typing import Final

from ..model.process import Owner, ProcessId, Unowned
from ..model.sockets import NO_OWNER_KEY
from .fd_scanner import Closed, Found, Walk
from .owner_table import MAX_ENTRIES_RATIO, ByHolder, KnownOwners
from .process_cache import Facts
from .resolver import Live, reason_of

# How long holders without a process are left alone, in seconds; doubled while nothing turns up.
RETRY_FIRST: Final = 15.0
RETRY_LAST: Final = 300.0


class InodeOwners(KnownOwners):
    """Finds inodes among the descriptors of all processes. Without the capabilities to read other
    users' processes (CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH) it finds only its own user's."""

    def __init__(self, walk: Walk, facts: Facts, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(facts)
        self._walk = walk
        self._clock = clock
        self._not_found: set[int] = set()
        # Of those not found, the ones that are being looked for again just now.
        self._retried: set[int] = set()
        # By pid: sockets that the process let go of late, and those of them that are there all the same.
        self._let_go: list[tuple[list[int], int]] = []
        self._handed_on: list[tuple[int, set[int]]] = []
        self._retry_at = 0.0
        self._retry_after = RETRY_FIRST

    @property
    def unreadable(self) -> Counter[str]:
        return self._walk.unreadable

    @property
    def not_found_because(self) -> str:
        if self._walk.hidden:
            return "hidden"
        failed = self.unreadable["permission"] or self.unreadable["error"]
        return "unreadable" if failed else "not_found"

    def refresh(self) -> set[Owner]:
        """A socket that was handed on to another process is noticed by the second reading after that: most
        that are let go are closed, which only the reading tells."""
        stale: set[Owner] = set(self._facts.refresh())
        if stale:
            self._owners = ByHolder(entry for entry in self._owners.items() if entry[1] not in stale)
        for owner in stale:
            if isinstance(owner, ProcessId):
                self._walk.forget(owner.pid)
        for pid, inodes in self._handed_on:
            stale |= self._dismiss(pid, inodes)
        self._handed_on = []
        self._let_go = [found for found in self._walk.let_go() if found[0]]
        if self._clock() >= self._retry_at:
            self._retried, self._not_found = self._not_found, set()
            if self._retried:
                stale.add(Unowned.NOT_FOUND)
        return stale

    def doubt(self, owner_keys: Iterable[int]) -> None:
        known = set(filter(self._owners.__contains__, owner_keys))
        others = [
            inode for inode in known if self._walk.still_holds(self._owners[inode].pid, {inode}) is not True
        ]
        self._owners = self._owners.without(others)

    def resolve(self, owner_keys: Collection[int], live: Live) -> None:
        unknown = set(filterfalse(self._owners.__contains__, owner_keys))
        if wanted := unknown.difference(self._not_found, {NO_OWNER_KEY}):
            closed = self._forget_closed(live.all())
            # Where it raises, nothing is known not to be found: the next look fails too, or finds it.
            self._claim(self._walk.find(wanted, live.all, closed), wanted)
            self._leave_alone(wanted - self._owners.keys())
        for inodes, pid in self._let_go:
            self._handed_on.append((pid, live.all().intersection(inodes)))
        self._let_go = []

    def _dismiss(self, pid: int, inodes: Iterable[int]) -> set[ProcessId]:
        """These sockets are not the process's any more. Gives the owner that it was of them."""
        owned = [inode for inode in inodes if inode in self._owners and self._owners[inode].pid == pid]
        owners = {self._owners[inode] for inode in owned}
        self._owners = self._owners.without(owned)
        return owners

    def _claim(self, found: Found, wanted: set[int]) -> None:
        """The first process met owns the socket: of a family of forked ones, the lowest pid."""
        owners: dict[int, ProcessId] = {}
        claimable = wanted | self._not_found
        for inodes, pid in found:
            sockets = claimable.intersection(inodes)
            unclaimed = set(filterfalse(self._owners.__contains__, sockets))
            if unclaimed and pid not in owners and (owner := self._learn(pid, sockets)):
                owners[pid] = owner
            if unclaimed and pid in owners:
                self._owners.update(dict.fromkeys(unclaimed, owners[pid]))

    def _learn(self, pid: int, sockets: set[int]) -> ProcessId | None:
        """Who holds these sockets that were met with this pid: nobody, if it is another's by now."""
        try:
            owner = self._facts.learn(pid)
        except OSError as failure:
            self._walk.unreadable[reason_of(failure)] += 1
            return None
        is_the_same = not self._facts.is_new(owner) or self._walk.still_holds(pid, sockets) is not False
        return owner if is_the_same else None

    def _forget_closed(self, live: set[int]) -> Closed:
        """Gives where those were of which an owner was known. A few that no table tells of may linger for a
        while."""
        where = self._walk.closed(live)
        closed = self._owners.keys() & chain.from_iterable(held.values() for held in where.values())
        if len(self._owners) - len(closed) > MAX_ENTRIES_RATIO * len(live):
            closed = self._owners.keys() - live
        self._owners = self._owners.without(closed)
        return {pid: [fd for fd, inode in held.items() if inode in closed] for pid, held in where.items()}

    def _leave_alone(self, missing: set[int]) -> None:
        if missing and not self._not_found:
            # Those that were closed meanwhile say nothing about the others.
            in_vain = not missing.isdisjoint(self._retried) and self._owners.keys().isdisjoint(self._retried)
            self._retry_after = min(2 * self._retry_after, RETRY_LAST) if in_vain else RETRY_FIRST
            self._retry_at = self._clock() + self._retry_after
        self._not_found |= missing
