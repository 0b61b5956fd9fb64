"""Metrics of accept queues and their limits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from prometheus_client.core import Metric

from ..model.snapshot import Snapshot
from . import catalog
from .labels import OTHER
from .series_limiter import SeriesLimiter

_Queues = Mapping[tuple[str, str], tuple[int, int]]
"""(process, local port) -> (length, limit) of an accept queue."""


def build_accept_queues(snapshot: Snapshot, limiter: SeriesLimiter) -> Iterator[Metric]:
    """Build the length and limit of the most utilized accept queue of each process and port."""
    if snapshot.listeners is None:
        return
    queues = _most_utilized_queues(snapshot, limiter.limits.max_series)
    yield catalog.SOCKET_LISTENER_ACCEPT_QUEUE_LENGTH.build(
        (labels, length) for labels, (length, _) in queues.items()
    )
    yield catalog.SOCKET_LISTENER_ACCEPT_QUEUE_LIMIT.build(
        (labels, limit) for labels, (_, limit) in queues.items()
    )


def _most_utilized_queues(snapshot: Snapshot, max_series: int) -> _Queues:
    """Return the most utilized queue of each process and port, so that an idle listener does not hide it."""
    queues = [
        (
            (snapshot.process_name(owner), str(listener.local_port)),
            (listener.queue_length, listener.queue_limit),
        )
        for listener, owner in snapshot.listeners or ()
        if listener.queue_length is not None and listener.queue_limit is not None
    ]
    queues.sort(key=lambda queue: _usage_key(*queue[1]))
    by_labels = dict(queues)
    if len(by_labels) <= max_series:
        return by_labels
    by_usage = sorted(by_labels.items(), key=lambda queue: _usage_key(*queue[1]))
    aggregated, kept = by_usage[: 1 - max_series], by_usage[1 - max_series :]
    return {(OTHER, OTHER): aggregated[-1][1], **dict(kept)}


def _usage_key(length: int, limit: int) -> tuple[float, int]:
    return length / max(limit, 1), length
