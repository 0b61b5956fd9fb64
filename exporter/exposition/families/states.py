"""Sockets by state, process and port; and those that nobody owns."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

from prometheus_client.core import Metric

from ...analysis.fold import Series
from ...model.collectors import CollectorName
from ...model.groups import Direction, SocketGroup
from ...model.process import ProcessId, Unowned
from ...model.snapshot import Snapshot
from ...model.sockets import LISTEN, STATE_NAMES
from .. import metrics
from ..bounds import Bounds, by_listening_port
from .labels import process, remote_port


def families(seen: Snapshot, bounds: Bounds) -> Iterator[Metric]:
    """The main gauge, the host's totals, and the sockets without an owner; the totals alone where no more is
    known yet."""
    if seen.totals is not None:
        yield metrics.HOST_STATES.family(((STATE_NAMES[number],), n) for number, n in seen.totals.items())
    if seen.groups is None:
        return
    by_state = Counter({name: 0 for number, name in STATE_NAMES.items() if _is_known(number, seen)})
    series: Counter[Series] = Counter()
    for group, count in seen.groups.items():
        state = STATE_NAMES[group.state]
        by_state[state] += count
        series[Series(state, process(group.owner, seen), remote_port(group))] += count
    yield metrics.HOST_STATES.family(((state,), count) for state, count in by_state.items())
    yield bounds.family(metrics.STATES, series)
    yield metrics.UNOWNED.family(_unowned(seen, seen.groups))


def by_listener(seen: Snapshot, bounds: Bounds) -> Iterator[Metric]:
    """Inbound sockets by the local port that accepted them."""
    if seen.groups is None:
        return
    series: Counter[Series] = Counter()
    for group, count in seen.groups.items():
        if group.direction is Direction.INBOUND:
            series[Series(STATE_NAMES[group.state], process(group.owner, seen), str(group.port))] += count
    yield bounds.family(metrics.LISTENER_STATES, series, by_listening_port(bounds.limits))


def _is_known(state: int, seen: Snapshot) -> bool:
    return state != LISTEN or CollectorName.LISTENERS not in seen.failed


def _unowned(seen: Snapshot, groups: Mapping[SocketGroup, int]) -> Iterator[tuple[tuple[str], int]]:
    counts: Counter[str] = Counter()
    for group, count in groups.items():
        if group.owner is Unowned.NOT_FOUND:
            counts[seen.not_found_because] += count
        elif not isinstance(group.owner, ProcessId):
            counts[group.owner.value] += count
    return (((reason,), counts[reason]) for reason in metrics.UNOWNED_REASONS)
