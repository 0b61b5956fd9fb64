"""Metric specs: name, help text, labels and collector of a metric, and how its samples are built."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeHistogramMetricFamily,
    GaugeMetricFamily,
    Metric,
)

from ..model.collectors import CollectorName

Buckets = Sequence[tuple[str, float]]
"""(upper bound as text, cumulative count) of each bucket, `+Inf` last."""


@dataclass(frozen=True, slots=True)
class MetricSpec:
    """Declaration of a metric of any type."""

    name: str
    """Name of the metric family."""
    help: str
    labels: tuple[str, ...]
    collector: CollectorName | None
    """Collector that exports the metric. None for metrics of the exporter itself, which every scrape has."""

    type: ClassVar[str]
    """OpenMetrics type, as in the line `# TYPE`."""

    @property
    def exposed_name(self) -> str:
        """Name of the samples in the text format, without the suffixes of histograms."""
        return self.name

    def describe(self) -> Metric:
        """Return the metric family without samples."""
        return Metric(self.name, self.help, self.type)


@dataclass(frozen=True, slots=True)
class GaugeSpec(MetricSpec):
    """Declaration of a gauge."""

    type = "gauge"

    def build(self, samples: Iterable[tuple[Sequence[str], float]]) -> Metric:
        """Return the metric family with (label values, value) samples."""
        family = GaugeMetricFamily(self.name, self.help, labels=self.labels)
        for values, value in samples:
            family.add_metric(values, value)
        return family


@dataclass(frozen=True, slots=True)
class CounterSpec(MetricSpec):
    """Declaration of a counter. The name of the metric family lacks the samples' `_total`."""

    type = "counter"

    @property
    def exposed_name(self) -> str:
        return f"{self.name}_total"

    def build(self, samples: Iterable[tuple[Sequence[str], float]]) -> Metric:
        """Return the metric family with (label values, value) samples."""
        family = CounterMetricFamily(self.name, self.help, labels=self.labels)
        for values, value in samples:
            family.add_metric(values, value)
        return family


@dataclass(frozen=True, slots=True)
class GaugeHistogramSpec(MetricSpec):
    """Declaration of a gauge histogram: its counts may decrease."""

    type = "gaugehistogram"

    def build(self, samples: Iterable[tuple[Sequence[str], Buckets, float]]) -> Metric:
        """Return the metric family with (label values, buckets, sum) samples."""
        family = GaugeHistogramMetricFamily(self.name, self.help, labels=self.labels)
        for values, buckets, total in samples:
            family.add_metric(values, buckets, total)
        return family
