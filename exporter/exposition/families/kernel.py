"""The host's limits, and what the kernel counts. What it does not tell is absent."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import Metric

from ...model.snapshot import Snapshot
from .. import metrics
from ..kinds import Gauge


def families(seen: Snapshot) -> Iterator[Metric]:
    """One sample for each figure that is known."""
    for gauge, value in (*_limits(seen), *_counters(seen)):
        if value is not None:
            yield gauge.family([((), value)])
    if seen.counters and seen.counters.aborts:
        yield metrics.KERNEL_ABORTS.family(((reason,), n) for reason, n in seen.counters.aborts.items())


def _limits(seen: Snapshot) -> Iterator[tuple[Gauge, float | None]]:
    if limits := seen.limits:
        yield metrics.TIME_WAIT_LIMIT, limits.max_time_wait_sockets
        yield metrics.TIME_WAIT_DURATION, limits.time_wait_seconds
        yield metrics.TIME_WAIT_REUSE, limits.time_wait_reuse
        yield metrics.ORPHANS_LIMIT, limits.max_orphans
        yield metrics.MEMORY_LIMIT, limits.memory_bytes


def _counters(seen: Snapshot) -> Iterator[tuple[Gauge, float | None]]:
    if counters := seen.counters:
        yield metrics.ORPHANS, counters.orphans
        yield metrics.MEMORY, counters.memory_bytes
        yield metrics.KERNEL_TIME_WAIT_OVERFLOWS, counters.time_wait_overflows
        yield metrics.KERNEL_TIME_WAIT_STARTED, counters.time_wait_started
        yield metrics.KERNEL_TIME_WAIT_REUSED, counters.time_wait_reused
        yield metrics.KERNEL_LISTEN_OVERFLOWS, counters.listen_overflows
        yield metrics.KERNEL_LISTEN_DROPS, counters.listen_drops
