"""Metrics of TCP limits and kernel counters. Values that the system does not report are absent."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import Metric

from ..model.snapshot import Snapshot
from . import catalog
from .series_limiter import SeriesLimiter
from .spec import CounterSpec, GaugeSpec


def build_kernel(snapshot: Snapshot, _limiter: SeriesLimiter) -> Iterator[Metric]:
    """Build a metric for each known value."""
    for spec, value in (*_limit_values(snapshot), *_counter_values(snapshot)):
        if value is not None:
            yield spec.build([((), value)])
    if snapshot.counters and snapshot.counters.aborts:
        aborts = snapshot.counters.aborts
        yield catalog.SOCKET_KERNEL_ABORTS.build(((reason,), count) for reason, count in aborts.items())


def _limit_values(snapshot: Snapshot) -> Iterator[tuple[GaugeSpec, float | None]]:
    if limits := snapshot.limits:
        yield catalog.SOCKET_TIME_WAIT_LIMIT, limits.max_time_wait_sockets
        yield catalog.SOCKET_TIME_WAIT_DURATION_SECONDS, limits.time_wait_seconds
        yield catalog.SOCKET_TIME_WAIT_REUSE, limits.time_wait_reuse
        yield catalog.SOCKET_ORPHANS_LIMIT, limits.max_orphans
        yield catalog.SOCKET_MEMORY_LIMIT_BYTES, limits.max_memory_bytes


def _counter_values(snapshot: Snapshot) -> Iterator[tuple[GaugeSpec | CounterSpec, float | None]]:
    if counters := snapshot.counters:
        yield catalog.SOCKET_ORPHANS, counters.orphans
        yield catalog.SOCKET_MEMORY_BYTES, counters.memory_bytes
        yield catalog.SOCKET_KERNEL_TIME_WAIT_OVERFLOWS, counters.time_wait_overflows
        yield catalog.SOCKET_KERNEL_TIME_WAIT_STARTED, counters.time_wait_started
        yield catalog.SOCKET_KERNEL_TIME_WAIT_REUSED, counters.time_wait_reused
        yield catalog.SOCKET_KERNEL_LISTEN_OVERFLOWS, counters.listen_overflows
        yield catalog.SOCKET_KERNEL_LISTEN_DROPS, counters.listen_drops
        yield catalog.SOCKET_KERNEL_SYN_QUEUE_DROPS, counters.syn_queue_drops
        yield catalog.SOCKET_KERNEL_BACKLOG_DROPS, counters.backlog_drops
        yield catalog.SOCKET_KERNEL_CONNECT_FAILURES, counters.connect_failures
        yield catalog.SOCKET_KERNEL_ESTABLISHED_RESETS, counters.established_resets
        yield catalog.SOCKET_KERNEL_RETRANSMITTED_SEGMENTS, counters.retransmitted_segments
        yield catalog.SOCKET_KERNEL_RESETS_SENT, counters.resets_sent
