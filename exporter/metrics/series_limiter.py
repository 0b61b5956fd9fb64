"""Series limiter: applies the cardinality limits to each metric, and stores which series it kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from prometheus_client.core import Metric

from ..model.process import UNKNOWN_PROCESS
from . import catalog
from .cardinality import Aggregation, KeptSeries, Series, SeriesLimits, aggregate
from .labels import INBOUND, NO_PORT, OTHER
from .spec import GaugeSpec

EXEMPT: Final = frozenset({UNKNOWN_PROCESS, INBOUND, NO_PORT})
"""Label values that are kept even if they are among the smallest."""


class SeriesLimiter:
    """Aggregates the series of each metric to keep them within the limits. Not for concurrent use."""

    def __init__(self, limits: SeriesLimits) -> None:
        self.limits = limits
        self._kept: dict[str, KeptSeries] = {}
        self._aggregated: dict[tuple[str, str], int] = {}

    def build(
        self, spec: GaugeSpec, series: Mapping[Series, int], limits: SeriesLimits | None = None
    ) -> Metric:
        """Return the family of a gauge with the labels (*Series.labels, process, port), within the limits."""
        result = self.aggregate(spec, series, limits or self.limits)
        return spec.build(
            ((*labels, process, port), count) for (labels, process, port), count in result.counts.items()
        )

    def aggregate(self, spec: GaugeSpec, series: Mapping[Series, int], limits: SeriesLimits) -> Aggregation:
        """Return the series of a gauge within the limits, and store the numbers for build_aggregated()."""
        result = aggregate(series, limits, self._kept.get(spec.name, KeptSeries()), EXEMPT)
        self._kept[spec.name] = result.kept
        for label in spec.labels:
            if label == "process":
                self._aggregated[spec.name, label] = result.aggregated_processes
            elif label.endswith("port"):
                self._aggregated[spec.name, label] = result.aggregated_ports
        self._aggregated[spec.name, "series"] = result.aggregated_series
        return result

    def build_aggregated(self) -> Metric:
        """Return the number of values of each label, and of series, that are aggregated in this scrape."""
        return catalog.SOCKET_EXPORTER_AGGREGATED_LABEL_VALUES.build(self._aggregated.items())


def display_name(aggregation: Aggregation) -> Callable[[str], str]:
    """Return a function from a process name to its label value: the name, or OTHER if it has no series."""
    named = {series.process for series in aggregation.counts}
    return lambda process: process if process in named else OTHER


def with_unlimited_ports(limits: SeriesLimits) -> SeriesLimits:
    """Return the limits for metrics whose local ports are limited by `max_series` only."""
    return SeriesLimits(limits.max_processes, limits.max_series, limits.max_series)
