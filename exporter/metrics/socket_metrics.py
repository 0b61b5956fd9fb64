"""Metrics of sockets by state, process and port, of unowned sockets, and of TIME_WAIT attribution."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

from prometheus_client.core import Metric

from ..model.collectors import CollectorName
from ..model.groups import Attribution, Direction, SocketGroup
from ..model.process import ProcessId, Unowned
from ..model.snapshot import Snapshot
from ..model.sockets import LISTEN, STATE_NAMES
from . import catalog
from .cardinality import Series
from .labels import UNOWNED_REASONS, remote_port_label
from .series_limiter import SeriesLimiter, with_unlimited_ports


def build_states(snapshot: Snapshot, limiter: SeriesLimiter) -> Iterator[Metric]:
    """Build the metrics of the collector `states`; for an unfinished collection only totals by state."""
    if snapshot.totals_by_state is not None:
        yield catalog.SOCKET_HOST_STATES.build(
            ((STATE_NAMES[state],), count) for state, count in snapshot.totals_by_state.items()
        )
    if snapshot.groups is None:
        return
    by_state = Counter({name: 0 for state, name in STATE_NAMES.items() if _is_known(state, snapshot)})
    series: Counter[Series] = Counter()
    for group, count in snapshot.groups.items():
        state = STATE_NAMES[group.state]
        by_state[state] += count
        series[Series((state,), snapshot.process_name(group.owner), remote_port_label(group))] += count
    yield catalog.SOCKET_HOST_STATES.build(((state,), count) for state, count in by_state.items())
    yield limiter.build(catalog.SOCKET_STATES, series)
    yield catalog.SOCKET_EXPORTER_UNOWNED_SOCKETS.build(_count_unowned(snapshot, snapshot.groups))


def build_listeners(snapshot: Snapshot, limiter: SeriesLimiter) -> Iterator[Metric]:
    """Build the number of inbound sockets by the local port that accepted them."""
    if snapshot.groups is None:
        return
    series: Counter[Series] = Counter()
    for group, count in snapshot.groups.items():
        if group.direction is Direction.INBOUND:
            labels = (STATE_NAMES[group.state],)
            series[Series(labels, snapshot.process_name(group.owner), str(group.port))] += count
    yield limiter.build(catalog.SOCKET_LISTENER_STATES, series, with_unlimited_ports(limiter.limits))


def _is_known(state: int, snapshot: Snapshot) -> bool:
    return state != LISTEN or CollectorName.LISTENERS not in snapshot.failed


def _count_unowned(snapshot: Snapshot, groups: Mapping[SocketGroup, int]) -> Iterator[tuple[tuple[str], int]]:
    counts: Counter[str] = Counter()
    for group, count in groups.items():
        if group.owner is Unowned.NOT_FOUND:
            counts[snapshot.unresolved_reason] += count
        elif not isinstance(group.owner, ProcessId):
            counts[group.owner.value] += count
    return (((reason,), counts[reason]) for reason in UNOWNED_REASONS)


def build_time_wait(snapshot: Snapshot, _limiter: SeriesLimiter) -> Iterator[Metric]:
    """Build the number of sockets in TIME_WAIT by attribution method, including zeros."""
    if snapshot.groups is None:
        return
    counts: Counter[Attribution] = Counter()
    for group, count in snapshot.groups.items():
        if group.attribution is not None:
            counts[group.attribution] += count
    yield catalog.SOCKET_TIME_WAIT_ATTRIBUTION.build(
        ((method.value,), counts[method]) for method in Attribution
    )
