"""Metrics of connections in CLOSE_WAIT: causes and ages."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from math import fsum
from typing import Final

from prometheus_client.core import Metric

from ..model.close_wait import Cause, ClassifiedCloseWait
from ..model.process import Owner
from ..model.snapshot import Snapshot
from . import catalog
from .cardinality import Series
from .series_limiter import SeriesLimiter, display_name, with_unlimited_ports
from .spec import Buckets

AGE_BUCKETS_SECONDS: Final = (1, 10, 60, 300, 900, 3600, 14400)
"""Upper bounds of the age buckets, inclusive; `+Inf` follows."""


def build_close_wait(snapshot: Snapshot, limiter: SeriesLimiter) -> Iterator[Metric]:
    """Build the metrics of connections in CLOSE_WAIT."""
    if snapshot.close_wait is None:
        return
    series: Counter[Series] = Counter()
    for (group, cause), count in Counter((row.group, row.cause) for row in snapshot.close_wait).items():
        labels = (group.direction.value, cause.value)
        series[Series(labels, snapshot.process_name(group.owner), str(group.port))] += count
    aggregation = limiter.aggregate(
        catalog.SOCKET_CLOSE_WAIT_SOCKETS, series, with_unlimited_ports(limiter.limits)
    )
    yield catalog.SOCKET_CLOSE_WAIT_SOCKETS.build(
        ((process, port, direction, cause), count)
        for ((direction, cause), process, port), count in aggregation.counts.items()
    )
    display = display_name(aggregation)
    by_name = _ages_by_display_name(snapshot.close_wait, snapshot, display)
    yield catalog.SOCKET_CLOSE_WAIT_AGE_SECONDS.build(
        ((name,), *age_histogram(ages)) for name, ages in by_name.items()
    )
    sending = (row for row in snapshot.close_wait if row.cause is Cause.SENDING)
    yield catalog.SOCKET_CLOSE_WAIT_SENDING_AGE_SECONDS.build(
        ((name,), *age_histogram(ages))
        for name, ages in _ages_by_display_name(sending, snapshot, display).items()
    )
    yield catalog.SOCKET_CLOSE_WAIT_OLDEST_AGE_SECONDS.build(
        ((name,), round(max(ages), 3)) for name, ages in by_name.items()
    )


def age_histogram(ages: Iterable[float]) -> tuple[Buckets, float]:
    """Return ages in seconds as cumulative buckets, and their sum rounded to milliseconds."""
    ordered = sorted(ages)
    buckets = [(f"{bound:.1f}", bisect_right(ordered, bound)) for bound in AGE_BUCKETS_SECONDS]
    return [*buckets, ("+Inf", len(ordered))], round(fsum(ordered), 3)


def _ages_by_display_name(
    rows: Iterable[ClassifiedCloseWait], snapshot: Snapshot, display: Callable[[str], str]
) -> dict[str, list[float]]:
    by_owner: defaultdict[Owner, list[float]] = defaultdict(list)
    for row in rows:
        by_owner[row.group.owner].append(row.age_seconds)
    by_name: defaultdict[str, list[float]] = defaultdict(list)
    for owner, ages in by_owner.items():
        by_name[display(snapshot.process_name(owner))] += ages
    return by_name
