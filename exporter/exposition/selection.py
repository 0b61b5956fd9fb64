"""Which families belong to which part of a scrape, for requests that want only some."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final

from prometheus_client.core import Metric
from prometheus_client.samples import Sample

from ..model.collectors import CollectorName
from . import metrics
from .kinds import Gauge

FAMILIES: Final[Mapping[str, tuple[Gauge, ...]]] = {
    CollectorName.STATES: (metrics.STATES, metrics.HOST_STATES, metrics.UNOWNED),
    CollectorName.LISTENERS: (
        metrics.LISTENER_STATES,
        metrics.ACCEPT_QUEUE_LENGTH,
        metrics.ACCEPT_QUEUE_LIMIT,
    ),
    CollectorName.CLOSE_WAIT: (metrics.CLOSE_WAIT_SOCKETS, metrics.CLOSE_WAIT_AGE, metrics.CLOSE_WAIT_OLDEST),
    CollectorName.TIME_WAIT: (metrics.TIME_WAIT_ATTRIBUTION,),
    CollectorName.EPHEMERAL: (
        metrics.EPHEMERAL_USED_MAX,
        metrics.EPHEMERAL_BOUND,
        metrics.EPHEMERAL_BOUND_LIMIT,
        metrics.EPHEMERAL_LIMIT,
    ),
    CollectorName.EPHEMERAL_ADDRESSES: (metrics.EPHEMERAL_USED,),
    CollectorName.DESCRIPTORS: (metrics.PROCESS_OPEN_FDS, metrics.PROCESS_WORST_FD_RATIO),
    CollectorName.QUEUES: (metrics.RECEIVE_QUEUE, metrics.SEND_QUEUE),
    CollectorName.LIMITS: (
        metrics.TIME_WAIT_LIMIT,
        metrics.TIME_WAIT_DURATION,
        metrics.TIME_WAIT_REUSE,
        metrics.ORPHANS,
        metrics.ORPHANS_LIMIT,
        metrics.MEMORY,
        metrics.MEMORY_LIMIT,
        metrics.KERNEL_TIME_WAIT_OVERFLOWS,
        metrics.KERNEL_TIME_WAIT_STARTED,
        metrics.KERNEL_TIME_WAIT_REUSED,
        metrics.KERNEL_LISTEN_OVERFLOWS,
        metrics.KERNEL_LISTEN_DROPS,
        metrics.KERNEL_ABORTS,
    ),
}
"""Part -> its families. Those of none are about the scrape itself. `owners` has none: it is in the labels of
the others, which must not differ from one request to the next."""

_PART_OF: Final = {gauge.name: part for part, gauges in FAMILIES.items() for gauge in gauges}
_BY_PART: Final = frozenset({metrics.COLLECTOR_DURATION.name, metrics.COLLECTOR_SUCCESS.name})


def narrowed(families: Iterable[Metric], parts: frozenset[str]) -> Iterator[Metric]:
    """Those of the families that belong to these parts, or to none."""
    others = FAMILIES.keys() - parts
    for family in families:
        if family.name in _BY_PART:
            yield _with(family, lambda sample: sample.labels["collector"] not in others)
        elif family.name == metrics.FOLDED.name:
            yield _with(family, lambda sample: _PART_OF.get(sample.labels["family"]) not in others)
        elif _PART_OF.get(family.name) not in others:
            yield family


def _with(family: Metric, wanted: Callable[[Sample], bool]) -> Metric:
    """A copy: the family itself is shared with other requests."""
    kept = Metric(family.name, family.documentation, family.type)
    kept.samples = list(filter(wanted, family.samples))
    return kept
