"""What processes use: file descriptors, and bytes in socket queues."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator

from prometheus_client.core import Metric

from ..model.snapshot import Snapshot
from . import catalog
from .cardinality import Series
from .labels import OTHER
from .series_limiter import SeriesLimiter, display_name
from .spec import GaugeSpec


def build_descriptors(snapshot: Snapshot, limiter: SeriesLimiter) -> Iterator[Metric]:
    """Build the open file descriptors of processes that own sockets, and their highest usage ratio."""
    opened: Counter[str] = Counter()
    worst: dict[str, float] = {}
    for owner, fds in snapshot.fd_usage.items():
        name = snapshot.process_name(owner)
        opened[name] += fds.open
        if fds.limit:
            worst[name] = max(worst.get(name, 0.0), fds.open / fds.limit)
    display = _display_names(catalog.SOCKET_PROCESS_OPEN_FDS, opened, limiter)
    yield _sum_by_name(catalog.SOCKET_PROCESS_OPEN_FDS, opened, display)
    ratios: dict[str, float] = {}
    for name, ratio in worst.items():
        ratios[display(name)] = max(ratios.get(display(name), 0.0), ratio)
    yield catalog.SOCKET_PROCESS_WORST_FD_RATIO.build(((name,), ratio) for name, ratio in ratios.items())


def build_queues(snapshot: Snapshot, limiter: SeriesLimiter) -> Iterator[Metric]:
    """Build the bytes in receive and send queues; processes without any have no series."""
    if snapshot.queues is None:
        return
    unread: Counter[str] = Counter()
    unacknowledged: Counter[str] = Counter()
    for group, (received, sent) in snapshot.queues.items():
        unread[snapshot.process_name(group.owner)] += received
        unacknowledged[snapshot.process_name(group.owner)] += sent
    for spec, sums in (
        (catalog.SOCKET_RECEIVE_QUEUE_BYTES, unread),
        (catalog.SOCKET_SEND_QUEUE_BYTES, unacknowledged),
    ):
        yield _sum_by_name(spec, sums, _display_names(spec, sums, limiter))


def _display_names(spec: GaugeSpec, sums: Counter[str], limiter: SeriesLimiter) -> Callable[[str], str]:
    # These metrics have no port: with OTHER as port, the first label to be aggregated is the process.
    series = {Series((), name, OTHER): value for name, value in sums.items()}
    return display_name(limiter.aggregate(spec, series, limiter.limits))


def _sum_by_name(spec: GaugeSpec, sums: Counter[str], display: Callable[[str], str]) -> Metric:
    by_name: Counter[str] = Counter()
    for name, value in sums.items():
        by_name[display(name)] += value
    return spec.build(((name,), value) for name, value in by_name.items())
