"""Metrics of dead file descriptors: open descriptors whose TCP socket is in no kernel table."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from typing import Final

from prometheus_client.core import Metric

from ..model.process import ProcessId
from ..model.snapshot import Snapshot
from . import catalog
from .cardinality import Series
from .close_wait_metrics import age_histogram
from .labels import OTHER
from .series_limiter import SeriesLimiter, display_name

LOST: Final = "lost"
"""Value of the label `connection`: an earlier collection contained the socket with a connection."""
UNKNOWN_CONNECTION: Final = "unknown"
"""Value of the label `connection`: the socket was not observed with a connection."""


def build_dead_fds(snapshot: Snapshot, limiter: SeriesLimiter) -> Iterator[Metric]:
    """Build the number of dead descriptors and their ages; processes without any have no series."""
    if snapshot.dead_fds is None:
        return
    counts = Counter((dead_fd.owner, dead_fd.was_connected) for dead_fd in snapshot.dead_fds)
    # Without a port, only processes are aggregated.
    series: Counter[Series] = Counter()
    for (owner, was_connected), count in counts.items():
        connection = LOST if was_connected else UNKNOWN_CONNECTION
        series[Series((connection,), snapshot.process_name(owner), OTHER)] += count
    aggregation = limiter.aggregate(catalog.SOCKET_DEAD_FDS, series, limiter.limits)
    yield catalog.SOCKET_DEAD_FDS.build(
        ((process, connection), count) for ((connection,), process, _), count in aggregation.counts.items()
    )
    by_name = _ages_by_display_name(snapshot, display_name(aggregation))
    yield catalog.SOCKET_DEAD_FDS_AGE_SECONDS.build(
        ((name,), *age_histogram(ages)) for name, ages in by_name.items()
    )
    yield catalog.SOCKET_DEAD_FDS_OLDEST_AGE_SECONDS.build(
        ((name,), round(max(ages), 3)) for name, ages in by_name.items()
    )


def _ages_by_display_name(snapshot: Snapshot, display: Callable[[str], str]) -> dict[str, list[float]]:
    by_owner: defaultdict[ProcessId, list[float]] = defaultdict(list)
    for owner, _, age_seconds in snapshot.dead_fds or ():
        by_owner[owner].append(age_seconds)
    by_name: defaultdict[str, list[float]] = defaultdict(list)
    for owner, ages in by_owner.items():
        by_name[display(snapshot.process_name(owner))] += ages
    return by_name
