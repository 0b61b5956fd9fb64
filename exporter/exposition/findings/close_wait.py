"""CLOSE_WAIT: the other side has closed, the local program has not. It never ends by itself."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple, assert_never

from ...model import sockets
from ...model.close_wait import Cause
from ...model.groups import Direction
from ...model.process import Owner, ProcessId
from ...model.snapshot import Snapshot
from . import accept_queues, descriptors
from .close_wait_words import advice, detail, title
from .finding import Finding, Kind, Scope, Severity, Usage
from .words import who


class _Place(NamedTuple):
    """What the connections of one pile have in common."""

    name: str
    port: int
    direction: Direction
    cause: Cause


@dataclass(frozen=True, slots=True)
class _Some:
    """Connections of one place, owner and age. No age: nobody can know it yet."""

    place: _Place
    owner: Owner
    age: float | None
    count: int


@dataclass(frozen=True, slots=True)
class _Pile:
    """The connections of one place."""

    place: _Place
    some: list[_Some]
    near: Usage | None
    is_used_up_by_it: bool
    """Whether `near` is a limit that is nearly reached, and these connections have a good part in that."""

    @property
    def count(self) -> int:
        return sum(each.count for each in self.some)

    @property
    def oldest(self) -> float | None:
        return max((each.age for each in self.some if each.age is not None), default=None)

    def older_than(self, seconds: float) -> int:
        return sum(each.count for each in self.some if each.age is not None and each.age >= seconds)


def find(scope: Scope) -> Iterator[Finding]:
    """A finding for each process, port, direction and cause with old or many connections."""
    by_place: defaultdict[_Place, list[_Some]] = defaultdict(list)
    held: Counter[Owner] = Counter()
    for some in _all(scope.seen):
        by_place[some.place].append(some)
        if _takes_descriptor(some.place.cause):
            held[some.owner] += some.count
    queues = accept_queues.fullest(scope.seen)
    for place, group in by_place.items():
        near, used_up = _near(place, group, queues, held, scope)
        pile = _Pile(place, group, near, used_up)
        if severity := _severity(pile, scope):
            yield _finding(pile, severity, scope)


def _all(seen: Snapshot) -> Iterator[_Some]:
    if seen.stuck is None:
        # Switched off, or failed: their number is still known.
        for group, count in (seen.groups or {}).items():
            if group.state == sockets.CLOSE_WAIT:
                name = seen.process_name(group.owner)
                yield _Some(
                    _Place(name, group.port, group.direction, Cause.UNKNOWN), group.owner, None, count
                )
        return
    for half, group, cause, age in seen.stuck:
        place = _Place(seen.process_name(group.owner), group.port, group.direction, cause)
        # A source without ages says 0 at its first look: that is not young, but unknown.
        yield _Some(place, group.owner, age if age or half.seconds_since_ack is not None else None, 1)


def _takes_descriptor(cause: Cause) -> bool:
    """Return whether the connections count against the limit of file descriptors.

    Until the program has accepted a connection, it takes a place in the accept queue and no descriptor.
    """
    match cause:
        case Cause.NOT_ACCEPTED:
            return False
        case Cause.NOT_READ | Cause.NOT_CLOSED | Cause.SENDING | Cause.UNKNOWN:
            return True
        case _:
            assert_never(cause)


def _near(
    place: _Place,
    group: Iterable[_Some],
    queues: Mapping[tuple[str, int], accept_queues.Queue],
    held: Mapping[Owner, int],
    scope: Scope,
) -> tuple[Usage | None, bool]:
    """The limit that they count against, and whether they use it up."""
    if not _takes_descriptor(place.cause):
        queue = queues.get((place.name, place.port))
        full = queue is not None and queue.near.ratio >= scope.thresholds.accept_queue.critical
        return queue.near if queue else None, full
    worst = descriptors.worst({some.owner for some in group}, scope.seen)
    if worst is None:
        return None, False
    owner, near = worst
    share = held[owner] / near.limit
    limits = scope.thresholds
    return near, near.ratio >= limits.descriptors.warning and share >= limits.close_wait_share


def _severity(pile: _Pile, scope: Scope) -> Severity | None:
    """How urgent it is; None for what a working program has too."""
    limits = scope.thresholds
    old, many = pile.older_than(limits.close_wait_old), pile.count >= limits.close_wait_many
    if not old and not many:
        return None
    if pile.is_used_up_by_it:
        return Severity.CRITICAL
    match pile.place.cause:
        case Cause.SENDING:
            return Severity.WARNING if many else Severity.NOTE
        case Cause.NOT_ACCEPTED:
            few = 1  # A client that waits a minute for accept() is not served, and others will follow.
        case Cause.NOT_READ | Cause.NOT_CLOSED | Cause.UNKNOWN:
            few = limits.close_wait_few
        case _:
            assert_never(pile.place.cause)
    if old >= limits.close_wait_many:
        return Severity.CRITICAL
    return Severity.WARNING if many or old >= few else Severity.NOTE


def _finding(pile: _Pile, severity: Severity, scope: Scope) -> Finding:
    place = pile.place
    owners: Counter[Owner] = Counter()
    for some in pile.some:
        owners[some.owner] += some.count
    processes = who(owners, scope.seen)
    pid = next((owner.pid for owner, _ in owners.most_common() if isinstance(owner, ProcessId)), None)
    outbound = place.direction is Direction.OUTBOUND
    return Finding(
        kind=Kind.CLOSE_WAIT,
        severity=severity,
        title=title(place.cause, processes[0], pile.count, outbound=outbound),
        detail=detail(place.cause, place.port, pile.count, pile.oldest, outbound=outbound),
        advice=advice(place.cause, processes[0], pid, outbound=outbound, windows=scope.windows),
        processes=processes,
        count=pile.count,
        direction=place.direction,
        port=place.port,
        cause=place.cause,
        oldest_seconds=pile.oldest,
        near=pile.near,
    )
