"""Bounds families: how many series of each are shown, and which were shown before."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from prometheus_client.core import Metric

from ..analysis.fold import Folded, Limits, Series, Visible, fold
from . import metrics
from .kinds import Gauge

ALWAYS: Final = frozenset({metrics.UNKNOWN, metrics.INBOUND, metrics.NO_PORT})
"""Label values that are never folded by size."""


class Bounds:
    """Folds the series of families into the limits, remembering what was shown of each."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._visible: dict[str, Visible] = {}
        self._folded: dict[tuple[str, str], int] = {}

    def family(self, gauge: Gauge, series: Mapping[Series, int], limits: Limits | None = None) -> Metric:
        """The family of a gauge with three labels: the first of few values, a process, a port."""
        result = self.fold(gauge, series, limits or self.limits)
        return gauge.family(result.counts.items())

    def fold(self, gauge: Gauge, series: Mapping[Series, int], limits: Limits) -> Folded:
        """The series folded into the limits; what was folded is remembered for folded()."""
        result = fold(series, limits, self._visible.get(gauge.name, Visible()), ALWAYS)
        self._visible[gauge.name] = result.visible
        for label in gauge.labels:
            if label == "process":
                self._folded[gauge.name, label] = result.hidden_processes
            elif label.endswith("port"):
                self._folded[gauge.name, label] = result.hidden_ports
        self._folded[gauge.name, "series"] = result.hidden_series
        return result

    def folded(self) -> Metric:
        """How many values of each label, and how many series, are in `other` now."""
        return metrics.FOLDED.family(self._folded.items())


def shown(folded: Folded) -> Callable[[str], str]:
    """Process -> how it is called where its series are: its name, or `other` when it has none left."""
    named = {series.process for series in folded.counts}
    return lambda process: process if process in named else metrics.OTHER


def by_listening_port(limits: Limits) -> Limits:
    """For families by local port: ports are bounded by the number of series only."""
    return Limits(limits.processes, limits.series, limits.series)
