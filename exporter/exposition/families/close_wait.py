"""CLOSE_WAIT: why, and since when."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator

from prometheus_client.core import Metric

from ...analysis.fold import Series
from ...model.process import Owner
from ...model.snapshot import Snapshot
from ...tracking.close_wait import BUCKETS, age_histogram
from .. import metrics
from ..bounds import Bounds, by_listening_port, shown
from ..kinds import Buckets
from .labels import process


def families(seen: Snapshot, bounds: Bounds) -> Iterator[Metric]:
    """Connections in CLOSE_WAIT by cause, and their ages."""
    if seen.stuck is None:
        return
    series: Counter[Series] = Counter()
    for (group, cause), count in Counter((stuck.group, stuck.cause) for stuck in seen.stuck).items():
        kind = f"{group.direction.value} {cause.value}"
        series[Series(kind, process(group.owner, seen), str(group.port))] += count
    folded = bounds.fold(metrics.CLOSE_WAIT_SOCKETS, series, by_listening_port(bounds.limits))
    yield metrics.CLOSE_WAIT_SOCKETS.family(
        ((name, port, *kind.split(" ")), count) for (kind, name, port), count in folded.counts.items()
    )
    ages = _ages(seen, shown(folded))
    yield metrics.CLOSE_WAIT_AGE.histograms(((name,), *_histogram(some)) for name, some in ages.items())
    yield metrics.CLOSE_WAIT_OLDEST.family(((name,), round(max(some), 3)) for name, some in ages.items())


def _histogram(ages: list[float]) -> tuple[Buckets, float]:
    counts, total = age_histogram(ages)
    bounds = (*(f"{bound:.1f}" for bound in BUCKETS), "+Inf")
    return list(zip(bounds, counts, strict=True)), round(total, 3)


def _ages(seen: Snapshot, called: Callable[[str], str]) -> dict[str, list[float]]:
    by_owner: defaultdict[Owner, list[float]] = defaultdict(list)
    for stuck in seen.stuck or ():
        by_owner[stuck.group.owner].append(stuck.age)
    ages: defaultdict[str, list[float]] = defaultdict(list)
    for owner, some in by_owner.items():
        ages[called(process(owner, seen))] += some
    return ages
