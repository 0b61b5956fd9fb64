"""The kinds of metric families that the table is made of."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeHistogramMetricFamily,
    GaugeMetricFamily,
    Metric,
)

Buckets = Sequence[tuple[str, float]]
"""(upper bound as text, cumulative count) of each bucket, `+Inf` last."""


@dataclass(frozen=True, slots=True)
class Gauge:
    """One family of gauges: its name, what HELP says of it, and its labels."""

    name: str
    help: str
    labels: tuple[str, ...] = ()

    @property
    def exposed(self) -> str:
        """The name as Prometheus has it."""
        return self.name

    @property
    def kind(self) -> str:
        """What sort of figure it is, in a word."""
        return "gauge"

    def family(self, samples: Iterable[tuple[Sequence[str], float]] = ()) -> Metric:
        """The family with these (label values, value) samples."""
        family = GaugeMetricFamily(self.name, self.help, labels=self.labels)
        for values, value in samples:
            family.add_metric(values, value)
        return family


@dataclass(frozen=True, slots=True)
class Counter(Gauge):
    """One family of counters, which only grow; its samples end in `_total`."""

    @property
    def exposed(self) -> str:
        return f"{self.name}_total"

    @property
    def kind(self) -> str:
        return "counter"

    def family(self, samples: Iterable[tuple[Sequence[str], float]] = ()) -> Metric:
        family = CounterMetricFamily(self.name, self.help, labels=self.labels)
        for values, value in samples:
            family.add_metric(values, value)
        return family


@dataclass(frozen=True, slots=True)
class GaugeHistogram(Gauge):
    """One family of histograms whose counts may fall."""

    @property
    def kind(self) -> str:
        return "gauge histogram"

    def histograms(self, samples: Iterable[tuple[Sequence[str], Buckets, float]] = ()) -> Metric:
        """The family with these (label values, (upper bound, cumulative count) pairs, sum) samples."""
        family = GaugeHistogramMetricFamily(self.name, self.help, labels=self.labels)
        for values, buckets, total in samples:
            family.add_metric(values, buckets, total)
        return family

    def family(self, samples: Iterable[tuple[Sequence[str], float]] = ()) -> Metric:  # noqa: ARG002  # Gauge's
        """An empty family, for the description."""
        return self.histograms()
