"""Metric families built from a snapshot, by name."""

from __future__ import annotations

from typing import Final

from prometheus_client.core import Metric

from exporter.metrics import catalog
from exporter.metrics.cardinality import SeriesLimits
from exporter.metrics.collector import SocketCollector
from exporter.model.collectors import CollectorName
from exporter.model.snapshot import Snapshot

from ..snapshots import BUSY

ALL: Final = SeriesLimits(100, 50, 2_000)
"""Limits that aggregate nothing of BUSY."""


def collect(
    snapshot: Snapshot = BUSY,
    limits: SeriesLimits = ALL,
    collectors: frozenset[CollectorName] = frozenset(CollectorName),
) -> dict[str, Metric]:
    """Return the families by name."""
    collector = SocketCollector(lambda: snapshot, limits, "netlink", collectors)
    return {family.name: family for family in collector.collect()}


def values(family: Metric) -> dict[tuple[str, ...], float]:
    """Return the values by label values, in the order of the catalog."""
    return {tuple(sample.labels.values()): sample.value for sample in family.samples}


def names_of(*collectors: CollectorName) -> set[str]:
    """Return the names of the metrics of these collectors."""
    return {spec.name for spec in catalog.METRICS if spec.collector in collectors}
