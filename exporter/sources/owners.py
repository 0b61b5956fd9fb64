"""Who holds a socket: inode -> process through /proc/PID/fd (Linux), or pid -> process (psutil)."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection, Container, Iterable
from itertools import filterfalse
from typing import Final, Protocol

from ..model import NO_HOLDER, UNSEEN_HOLDER, Owner, Process, ProcessId, Unowned
from .facts import Facts
from .walk import Found, Walk, reason_of


class Live(Protocol):
    """The holders of all sockets there are now."""

    def all(self) -> set[int]:
        """All of them. Dear, so asked for only when needed; not to be changed."""


# How long holders without a process are left alone, in seconds; doubled while nothing turns up.
RETRY_FIRST: Final = 15.0
RETRY_LAST: Final = 300.0

# Owners of so many more sockets than there are may be remembered.
_SLACK: Final = 0.25
_SLACK_AT_LEAST: Final = 1_024


class Owners(Protocol):
    """Knows the processes behind the holders of sockets."""

    @property
    def unreadable(self) -> Counter[str]:
        """Processes that could not be read at the last look, by reason."""

    @property
    def not_found_because(self) -> str:
        """Why a holder has no process, most likely: a reason of socket_exporter_unowned_sockets."""

    def refresh(self) -> set[Owner]:
        """Owners of whom something was said that may be true no longer; call before each reading."""

    def doubt(self, holders: Iterable[int]) -> None:
        """These hold sockets that were not there before: what was known of them may be of earlier ones."""

    def resolve(self, holders: Collection[int], live: Live) -> None:
        """Looks for the processes behind these holders. Raises OSError where there is no /proc."""

    @property
    def owner_of(self) -> Callable[[int], Owner]:
        """Gives the process behind a holder, as far as resolve() found it; RELEASED for NO_HOLDER."""

    def process(self, owner: ProcessId) -> Process:
        """The facts of an owner."""

    def is_alive(self, owner: ProcessId) -> bool:
        """Whether the owner lived at the last refresh: its pid may be somebody else's by now."""

    def tell(self, *, details: bool) -> None:
        """Whether more facts than the comm are wanted from now on."""

    def keep(self, used: Container[object]) -> None:
        """Drops the facts of dead owners that are not among the used."""


class NoOwners:
    """Knows nobody: for those who do not want processes looked at."""

    unreadable: Final[Counter[str]] = Counter()
    not_found_because = "disabled"

    def refresh(self) -> set[Owner]:
        return set()

    def doubt(self, holders: Iterable[int]) -> None:
        pass

    def resolve(self, holders: Collection[int], live: Live) -> None:
        pass

    def owner_of(self, holder: int) -> Owner:
        return Unowned.RELEASED if holder == NO_HOLDER else Unowned.NOT_FOUND

    def process(self, owner: ProcessId) -> Process:
        raise KeyError(owner)

    def is_alive(self, owner: ProcessId) -> bool:  # noqa: ARG002  # the protocol's
        return False

    def tell(self, *, details: bool) -> None:
        pass

    def keep(self, used: Container[object]) -> None:
        pass


class _ByHolder(dict[int, ProcessId]):
    """The owners found so far."""

    def __missing__(self, holder: int) -> Unowned:
        return Unowned.RELEASED if holder == NO_HOLDER else Unowned.NOT_FOUND


class _Known:
    """The owners found so far, by holder, and their facts."""

    def __init__(self, facts: Facts) -> None:
        self._facts = facts
        self._owners = _ByHolder()

    @property
    def owner_of(self) -> Callable[[int], Owner]:
        """Asked for each socket, it runs in C where the owner is known."""
        return self._owners.__getitem__

    def process(self, owner: ProcessId) -> Process:
        return self._facts.get(owner)

    def is_alive(self, owner: ProcessId) -> bool:
        return self._facts.is_alive(owner)

    def tell(self, *, details: bool) -> None:
        self._facts.details = details

    def keep(self, used: Container[object]) -> None:
        self._facts.keep(used)


class PidOwners(_Known):
    """For a source that knows the pid of each socket: only the facts are still to be read."""

    def __init__(self, facts: Facts) -> None:
        super().__init__(facts)
        self.unreadable: Counter[str] = Counter()
        # Whether the source may not see everybody: who may, may for its whole life.
        self._unseen = False

    @property
    def not_found_because(self) -> str:
        return "unreadable" if self._unseen or self.unreadable["permission"] else "not_found"

    def refresh(self) -> set[Owner]:
        died = self._facts.refresh()
        self._owners = _ByHolder(entry for entry in self._owners.items() if entry[1] not in died)
        return set(died)

    def doubt(self, holders: Iterable[int]) -> None:
        """A pid that is used again is noticed by refresh()."""

    def resolve(self, holders: Collection[int], live: Live) -> None:  # noqa: ARG002  # the protocol's
        self.unreadable = Counter()
        self._unseen |= UNSEEN_HOLDER in holders
        for pid in set(holders) - self._owners.keys() - {NO_HOLDER, UNSEEN_HOLDER}:
            try:
                self._owners[pid] = self._facts.learn(pid)
            except OSError as failure:
                self.unreadable[reason_of(failure)] += 1


class InodeOwners(_Known):
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
        self._walk.begin()
        stale: set[Owner] = set(self._facts.refresh())
        if stale:
            self._owners = _ByHolder(entry for entry in self._owners.items() if entry[1] not in stale)
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

    def doubt(self, holders: Iterable[int]) -> None:
        for inode in filter(self._owners.__contains__, holders):
            if self._walk.still_holds(self._owners[inode].pid, {inode}) is not True:
                del self._owners[inode]

    def resolve(self, holders: Collection[int], live: Live) -> None:
        unknown = set(filterfalse(self._owners.__contains__, holders))
        if wanted := unknown.difference(self._not_found, {NO_HOLDER}):
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
        return {self._owners.pop(inode) for inode in owned}

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

    def _forget_closed(self, live: set[int]) -> set[int]:
        """Gives those of which an owner was known. A few that no table tells of may linger for a while."""
        closed = self._owners.keys() & self._walk.closed(live)
        if len(self._owners) - len(closed) > (1 + _SLACK) * len(live) + _SLACK_AT_LEAST:
            closed = self._owners.keys() - live
        for inode in closed:
            del self._owners[inode]
        return closed

    def _leave_alone(self, missing: set[int]) -> None:
        if missing and not self._not_found:
            # Those that were closed meanwhile say nothing about the others.
            in_vain = not missing.isdisjoint(self._retried) and self._owners.keys().isdisjoint(self._retried)
            self._retry_after = min(2 * self._retry_after, RETRY_LAST) if in_vain else RETRY_FIRST
            self._retry_at = self._clock() + self._retry_after
        self._not_found |= missing
