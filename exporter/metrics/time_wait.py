"""Sockets in TIME_WAIT by the method that attributed them to a process."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from prometheus_client.core import Metric

from ..model.groups import Attribution
from ..model.snapshot import Snapshot
from . import catalog
from .series_limiter import SeriesLimiter


def build(snapshot: Snapshot, _limiter: SeriesLimiter) -> Iterator[Metric]:
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
