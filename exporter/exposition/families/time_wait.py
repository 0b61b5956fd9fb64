"""TIME_WAIT: how its owners were found."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from prometheus_client.core import Metric

from ...model.groups import Attribution
from ...model.snapshot import Snapshot
from .. import metrics


def families(seen: Snapshot) -> Iterator[Metric]:
    """Sockets in TIME_WAIT by the way their owner was found, zeros included."""
    if seen.groups is None:
        return
    counts: Counter[Attribution] = Counter()
    for group, count in seen.groups.items():
        if group.attribution is not None:
            counts[group.attribution] += count
    yield metrics.TIME_WAIT_ATTRIBUTION.family(((method.value,), counts[method]) for method in Attribution)
