"""Leaks: connections in CLOSE_WAIT and dead file descriptors of one process name, taken together.

A keepalive probe that is answered by a reset takes a leaked connection out of CLOSE_WAIT and leaves its file
descriptor open: the same leak then consists of both.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Final, NamedTuple, assert_never

from ..model import sockets
from ..model.close_wait import Cause
from ..model.dead_fds import DeadFd
from ..model.groups import Direction
from ..model.process import Owner, ProcessId
from ..model.snapshot import Snapshot
from .finding import Usage
from .thresholds import Thresholds

_KEEPALIVE_TIMER: Final = 2


class LeakKey(NamedTuple):
    """Properties that all connections of a finding share."""

    name: str
    port: int
    direction: Direction
    cause: Cause


@dataclass(frozen=True, slots=True)
class Member:
    """Number of connections with the same key, owner and age."""

    key: LeakKey
    owner: Owner
    age_seconds: float | None
    """Lower bound. None if the source does not know the age yet."""
    age_at_most_seconds: float | None
    """Upper bound, only with keepalive: then the lower bound is often that of the last answered probe."""
    count: int
    opened_seconds: float | None = None
    """Time since the connection was opened. None if the source does not report it."""


@dataclass(frozen=True, slots=True)
class DeadFds:
    """Dead file descriptors of the processes of one name."""

    fds: list[DeadFd] = field(default_factory=list)

    @property
    def count(self) -> int:
        return len(self.fds)

    @property
    def lost_count(self) -> int:
        """Number of those whose connection was observed before it was lost."""
        return sum(fd.was_connected for fd in self.fds)

    @property
    def oldest_lost_seconds(self) -> float | None:
        return max((fd.age_seconds for fd in self.fds if fd.was_connected), default=None)

    def lost_older_than(self, seconds: float) -> int:
        return sum(fd.was_connected and fd.age_seconds >= seconds for fd in self.fds)

    def by_owner(self) -> Counter[Owner]:
        return Counter(fd.owner for fd in self.fds)


@dataclass(frozen=True, slots=True)
class FdLimit:
    """Limit of file descriptors that a leak counts towards: that of the process concerned most."""

    owner: ProcessId
    usage: Usage
    close_wait: int
    """Number of the process's descriptors in CLOSE_WAIT, without `sending`."""
    dead: int
    """Number of its dead file descriptors."""
    direction: Direction
    """Direction of all those in CLOSE_WAIT; NONE if they differ."""

    @property
    def leaked(self) -> int:
        return self.close_wait + self.dead

    @property
    def is_reached(self) -> bool:
        """Whether no descriptor is left."""
        return self.usage.used >= self.usage.limit

    def is_exhausted(self, thresholds: Thresholds) -> bool:
        """Return whether the limit is near, and leaks are a considerable share of it."""
        return self._is_considerable(thresholds) and self.usage.ratio >= thresholds.descriptors.warning

    def is_nearly_reached(self, thresholds: Thresholds) -> bool:
        """Return whether few or no descriptors are left, and leaks are a considerable share of them."""
        return self._is_considerable(thresholds) and self.usage.ratio >= thresholds.descriptors.critical

    def _is_considerable(self, thresholds: Thresholds) -> bool:
        return self.leaked > 0 and self.leaked / self.usage.limit >= thresholds.close_wait_share


@dataclass(frozen=True, slots=True)
class Leak:
    """Connections with the same key, and dead file descriptors of the same process name."""

    key: LeakKey
    members: list[Member]
    dead: DeadFds
    """Empty unless these are most of the connections that the process name leaks."""
    limit: FdLimit | None
    is_main: bool
    """Whether these are most of the connections that the process name leaks."""
    other_causes: list[Member] = field(default_factory=list)
    """Leaked connections of the same name, port and direction with other causes, if these are most of them.
    A leak has several: whether the FIN was read depends on when it came."""

    def with_all_causes(self) -> Leak:
        """Return the same leak with the connections of the other causes."""
        return replace(self, members=self.members + self.other_causes, other_causes=[])

    @property
    def count(self) -> int:
        """Number of connections in CLOSE_WAIT."""
        return sum(member.count for member in self.members)

    @property
    def oldest_seconds(self) -> float | None:
        """Age of the oldest connection: lower bound."""
        return max(
            (member.age_seconds for member in self.members if member.age_seconds is not None), default=None
        )

    @property
    def oldest_at_most_seconds(self) -> float | None:
        """Upper bound of the age of the oldest connection; None without keepalive."""
        bounds = [member.age_at_most_seconds for member in self.members]
        highest = max((bound for bound in bounds if bound is not None), default=None)
        return None if highest is None else max(highest, self.oldest_seconds or 0.0)

    @property
    def opened_seconds(self) -> float | None:
        """Time since the first connection was opened; None if the source does not report it."""
        opened = (member.opened_seconds for member in self.members)
        return max((seconds for seconds in opened if seconds is not None), default=None)

    def older_than(self, seconds: float) -> int:
        """Return the number of connections, and of lost ones, that certainly have this age."""
        ages = ((member.age_seconds, member.count) for member in self.members)
        count = sum(count for age, count in ages if age is not None and age >= seconds)
        return count + self.dead.lost_older_than(seconds)

    def opened_before(self, seconds: float) -> int:
        """Return the number of connections of unknown age that were opened at least these seconds ago."""
        return sum(
            member.count
            for member in self.members
            if member.age_seconds is None and (member.opened_seconds or 0.0) >= seconds
        )

    def kept_alive_for(self, seconds: float) -> int:
        """Return the number of connections with keepalive that certainly have this age."""
        return sum(
            member.count
            for member in self.members
            if member.age_at_most_seconds is not None and (member.age_seconds or 0.0) >= seconds
        )

    def owners(self) -> Counter[Owner]:
        """Return the owners and their numbers of connections and dead file descriptors."""
        owners = self.dead.by_owner()
        for member in self.members:
            owners[member.owner] += member.count
        return owners


def takes_descriptor(cause: Cause) -> bool:
    """Return whether the connections count towards the limit of file descriptors.

    A connection that the program has not accepted takes a place in the accept queue, and no descriptor.
    """
    match cause:
        case Cause.NOT_ACCEPTED:
            return False
        case Cause.NOT_READ | Cause.NOT_CLOSED | Cause.SENDING | Cause.UNKNOWN:
            return True
        case _:
            assert_never(cause)


def _is_leaked(cause: Cause) -> bool:
    return takes_descriptor(cause) and cause is not Cause.SENDING


def collect_leaks(snapshot: Snapshot) -> tuple[list[Leak], dict[str, DeadFds]]:
    """Return the leaks, and the dead file descriptors of process names without connections in CLOSE_WAIT."""
    by_key: defaultdict[LeakKey, list[Member]] = defaultdict(list)
    close_wait: defaultdict[Owner, Counter[Direction]] = defaultdict(Counter)
    sizes: defaultdict[str, Counter[LeakKey]] = defaultdict(Counter)
    for member in _members(snapshot):
        by_key[member.key].append(member)
        if _is_leaked(member.key.cause):
            close_wait[member.owner][member.key.direction] += member.count
            sizes[member.key.name][member.key] += member.count
    dead = _dead_by_name(snapshot)
    dead_by_owner = Counter[Owner](fd.owner for fd in snapshot.dead_fds or ())
    leaks = []
    for key, members in by_key.items():
        is_main = _is_leaked(key.cause) and sizes[key.name].most_common(1)[0][0] == key
        fds = dead.pop(key.name, DeadFds()) if is_main else DeadFds()
        owners = {member.owner for member in members} | set(fds.by_owner())
        takes = takes_descriptor(key.cause)
        limit = limit_of(owners, close_wait, dead_by_owner, snapshot) if takes else None
        leaks.append(Leak(key, members, fds, limit, is_main, _other_causes(key, by_key, sizes[key.name])))
    return leaks, dead


def _other_causes(
    key: LeakKey, by_key: Mapping[LeakKey, list[Member]], sizes: Mapping[LeakKey, int]
) -> list[Member]:
    """Return the connections that differ in the cause only, if this cause has most of them."""
    same = [other for other in sizes if other[:3] == key[:3]]
    if key not in same or key != max(same, key=lambda other: sizes[other]):
        return []
    return [member for other in same if other != key for member in by_key[other]]


def limit_of(
    owners: Iterable[Owner],
    close_wait: Mapping[Owner, Counter[Direction]],
    dead: Mapping[Owner, int],
    snapshot: Snapshot,
) -> FdLimit | None:
    """Return the limit of the process with the highest usage that leaks; None if no limit is known."""
    limits = []
    for owner in owners:
        if isinstance(owner, ProcessId) and (fds := snapshot.fd_usage.get(owner)) and fds.limit:
            usage = Usage(f"file descriptors of pid {owner.pid}", fds.open, fds.limit)
            counts = close_wait.get(owner, Counter())
            direction = next(iter(counts)) if len(counts) == 1 else Direction.NONE
            limits.append(FdLimit(owner, usage, counts.total(), dead.get(owner, 0), direction))
    return max(
        limits,
        key=lambda limit: (limit.leaked > 0, limit.usage.ratio, limit.leaked, -limit.owner.pid),
        default=None,
    )


def _members(snapshot: Snapshot) -> Iterator[Member]:
    if snapshot.close_wait is None:
        # The collector is disabled or failed: the number of connections is still known.
        for group, count in (snapshot.groups or {}).items():
            if group.state == sockets.CLOSE_WAIT:
                name = snapshot.process_name(group.owner)
                key = LeakKey(name, group.port, group.direction, Cause.UNKNOWN)
                yield Member(key, group.owner, None, None, count)
        return
    for sock, group, cause, age in snapshot.close_wait:
        key = LeakKey(snapshot.process_name(group.owner), group.port, group.direction, cause)
        # For a source without times the age is 0 in the first collection, which means unknown.
        known_age = age if age or sock.seconds_since_ack is not None else None
        yield Member(key, group.owner, known_age, age_at_most(sock, age), 1, opened_for(sock, age))


def age_at_most(sock: sockets.CloseWaitSocket, age_seconds: float) -> float | None:
    """Return the upper bound of the time in CLOSE_WAIT if keepalive is on, otherwise None.

    An answered probe is an ACK, and the lower bound of the age begins there. No data follow the FIN: the last
    data, or without any the establishment of the connection, is the upper bound.
    """
    if sock.timer != _KEEPALIVE_TIMER or sock.seconds_since_data is None:
        return None
    return max(sock.seconds_since_data, age_seconds)


def opened_for(sock: sockets.CloseWaitSocket, age_seconds: float) -> float | None:
    """Return the time since the connection was opened; None if the source does not report it.

    The age is from another clock, and possibly longer by the time that a collection takes.
    """
    opened = sock.seconds_since_opened
    return None if opened is None else max(opened, age_seconds)


def _dead_by_name(snapshot: Snapshot) -> dict[str, DeadFds]:
    by_name: defaultdict[str, DeadFds] = defaultdict(DeadFds)
    for fd in snapshot.dead_fds or ():
        by_name[snapshot.process_name(fd.owner)].fds.append(fd)
    return dict(by_name)
