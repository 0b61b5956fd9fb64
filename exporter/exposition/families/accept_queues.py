"""Accept queues against their limits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from prometheus_client.core import Metric

from ...model.snapshot import Snapshot
from .. import metrics
from ..bounds import Bounds
from .labels import process

_Queues = Mapping[tuple[str, str], tuple[int, int]]
"""(process, local port) -> (length, limit) of an accept queue."""


def families(seen: Snapshot, bounds: Bounds) -> Iterator[Metric]:
    """Length and limit of the fullest accept queue of each process and port."""
    if seen.listeners is None:
        return
    queues = _fullest(seen, bounds.limits.series)
    yield metrics.ACCEPT_QUEUE_LENGTH.family((labels, length) for labels, (length, _) in queues.items())
    yield metrics.ACCEPT_QUEUE_LIMIT.family((labels, limit) for labels, (_, limit) in queues.items())


def _fullest(seen: Snapshot, most: int) -> _Queues:
    """Of the listeners with the same labels, the fullest: an idle one beside it must not hide it."""
    queues = [
        ((process(owner, seen), str(listener.local_port)), (listener.queue_length, listener.queue_limit))
        for listener, owner in seen.listeners or ()
        if listener.queue_length is not None and listener.queue_limit is not None
    ]
    queues.sort(key=lambda queue: _fullness(*queue[1]))
    by_labels = dict(queues)
    if len(by_labels) <= most:
        return by_labels
    by_fullness = sorted(by_labels.items(), key=lambda queue: _fullness(*queue[1]))
    hidden, shown = by_fullness[: 1 - most], by_fullness[1 - most :]
    return {(metrics.OTHER, metrics.OTHER): hidden[-1][1], **dict(shown)}


def _fullness(length: int, limit: int) -> tuple[float, int]:
    return length / max(limit, 1), length
