"""Metrics of resource usage by process: file descriptors, and bytes in socket queues."""

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
    """Build open file descriptors and handles of processes that own sockets, and the highest usage ratio."""
    open_fds: Counter[str] = Counter()
    max_ratios: dict[str, float] = {}
    for owner, usage in snapshot.fd_usage.items():
        name = snapshot.process_name(owner)
        open_fds[name] += usage.open
        if usage.limit:
            max_ratios[name] = max(max_ratios.get(name, 0.0), usage.open / usage.limit)
    display = _display_names(catalog.SOCKET_PROCESS_OPEN_FDS, open_fds, limiter)
    yield _sum_by_name(catalog.SOCKET_PROCESS_OPEN_FDS, open_fds, display)
    ratios: dict[str, float] = {}
    for name, ratio in max_ratios.items():
        ratios[display(name)] = max(ratios.get(display(name), 0.0), ratio)
    yield catalog.SOCKET_PROCESS_WORST_FD_RATIO.build(((name,), ratio) for name, ratio in ratios.items())
    if snapshot.handle_counts is not None:
        handles: Counter[str] = Counter()
        for owner, count in snapshot.handle_counts.items():
            handles[snapshot.process_name(owner)] += count
        spec = catalog.SOCKET_PROCESS_OPEN_HANDLES
        yield _sum_by_name(spec, handles, _display_names(spec, handles, limiter))


def build_queues(snapshot: Snapshot, limiter: SeriesLimiter) -> Iterator[Metric]:
    """Build the bytes in receive and send queues; processes without any have no series."""
    if snapshot.queue_bytes is None:
        return
    receive_bytes: Counter[str] = Counter()
    send_bytes: Counter[str] = Counter()
    for group, (receive_queue, send_queue) in snapshot.queue_bytes.items():
        receive_bytes[snapshot.process_name(group.owner)] += receive_queue
        send_bytes[snapshot.process_name(group.owner)] += send_queue
    for spec, sums in (
        (catalog.SOCKET_RECEIVE_QUEUE_BYTES, receive_bytes),
        (catalog.SOCKET_SEND_QUEUE_BYTES, send_bytes),
    ):
        yield _sum_by_name(spec, sums, _display_names(spec, sums, limiter))


def _display_names(spec: GaugeSpec, sums: Counter[str], limiter: SeriesLimiter) -> Callable[[str], str]:
    # These metrics have no port: with OTHER as the port of all series, only processes are aggregated.
    series = {Series((), name, OTHER): value for name, value in sums.items()}
    return display_name(limiter.aggregate(spec, series, limiter.limits))


def _sum_by_name(spec: GaugeSpec, sums: Counter[str], display: Callable[[str], str]) -> Metric:
    by_name: Counter[str] = Counter()
    for name, value in sums.items():
        by_name[display(name)] += value
    return spec.build(((name,), value) for name, value in by_name.items())
