"""Cardinality limit: aggregation of the smallest processes, ports and series into `other`.

Aggregated series are added up, so that every sum stays correct. Label values that were kept in the previous
scrape stay until another one is clearly bigger: series near the limit do not appear and disappear.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple, TypeVar

from .labels import OTHER

HYSTERESIS: Final = 1.25
"""Factor by which a label value must be bigger to displace one that was kept in the previous scrape."""

_Item = TypeVar("_Item", bound=Hashable)


class Series(NamedTuple):
    """Label values that identify one series."""

    labels: tuple[str, ...]
    """Values of the labels that are never aggregated, such as the state."""
    process: str
    port: str


@dataclass(frozen=True, slots=True)
class SeriesLimits:
    """Maximum numbers of label values and of series of a metric.

    `max_series` must be at least the number of combinations of the labels that are never aggregated.
    """

    max_processes: int
    max_ports: int
    max_series: int


@dataclass(frozen=True, slots=True)
class KeptSeries:
    """Label values and series that one scrape exposed without aggregation."""

    processes: frozenset[str] = frozenset()
    ports: frozenset[str] = frozenset()
    series: frozenset[Series] = frozenset()


@dataclass(frozen=True, slots=True)
class Aggregation:
    """Series within the limits, and the numbers of label values and series aggregated into `other`."""

    counts: Mapping[Series, int]
    kept: KeptSeries
    aggregated_processes: int
    aggregated_ports: int
    aggregated_series: int


def aggregate(
    counts: Mapping[Series, int], limits: SeriesLimits, previous: KeptSeries, exempt: Collection[str] = ()
) -> Aggregation:
    """Limit the processes, then the ports, then the series, keeping the biggest.

    The sum over each value of `Series.labels` stays the same.

    previous: what the previous scrape kept.
    exempt: values of process and port that are kept and do not count towards the limits, unless the series
        limit requires their aggregation.
    """
    if unchanged := _if_within_limits(counts, limits, exempt):
        return unchanged
    processes = _select_biggest(
        _sum_by_label(counts, "process", exempt), limits.max_processes, previous.processes
    )
    ports = _select_biggest(_sum_by_label(counts, "port", exempt), limits.max_ports, previous.ports)

    def relabel(series: Series) -> Series:
        process = series.process if series.process in processes or series.process in exempt else OTHER
        port = series.port if series.port in ports or series.port in exempt else OTHER
        return Series(series.labels, process, port)

    relabeled = _regroup(counts, relabel)
    limited, kept = _limit_series(relabeled, limits.max_series, previous.series)
    return Aggregation(
        limited,
        KeptSeries(processes, ports, kept),
        aggregated_processes=_count_aggregated(counts, "process", processes, exempt),
        aggregated_ports=_count_aggregated(counts, "port", ports, exempt),
        aggregated_series=len(relabeled) - len(relabeled.keys() & limited.keys()),
    )


def _if_within_limits(
    counts: Mapping[Series, int], limits: SeriesLimits, exempt: Collection[str]
) -> Aggregation | None:
    """Return all series unchanged if they are within the limits, as on most hosts, otherwise None."""
    processes = {series.process for series in counts}.difference(exempt, {OTHER})
    ports = {series.port for series in counts}.difference(exempt, {OTHER})
    if (
        len(processes) > limits.max_processes
        or len(ports) > limits.max_ports
        or len(counts) > limits.max_series
    ):
        return None
    kept = KeptSeries(frozenset(processes), frozenset(ports), frozenset(counts))
    return Aggregation(counts, kept, aggregated_processes=0, aggregated_ports=0, aggregated_series=0)


def _limit_series(
    counts: Mapping[Series, int], limit: int, previous: Collection[Series]
) -> tuple[Mapping[Series, int], frozenset[Series]]:
    """Aggregate the ports of the smallest series and, if too many remain, their processes.

    Return the series, and those to keep in the next scrape.
    """
    for coarsen in (_without_port, _without_process):
        if len(counts) <= limit:
            break
        remaining = limit - len({coarsen(series) for series in counts})
        kept = _select_biggest(counts, max(remaining, 0), previous)
        counts = _regroup(counts, _keep_or(kept, coarsen))
    return counts, frozenset(counts)


def _keep_or(kept: Collection[Series], coarsen: Callable[[Series], Series]) -> Callable[[Series], Series]:
    return lambda series: series if series in kept else coarsen(series)


def _without_port(series: Series) -> Series:
    return Series(series.labels, series.process, OTHER)


def _without_process(series: Series) -> Series:
    return Series(series.labels, OTHER, OTHER)


def _select_biggest(totals: Mapping[_Item, int], limit: int, previous: Collection[_Item]) -> frozenset[_Item]:
    """Return the `limit` biggest items. Ties are broken by name, not by the order of `totals`."""

    def rank(item: _Item) -> tuple[float, str]:
        return -totals[item] * (HYSTERESIS if item in previous else 1), str(item)

    return frozenset(sorted(totals, key=rank)[:limit])


def _sum_by_label(counts: Mapping[Series, int], label: str, exempt: Collection[str]) -> Counter[str]:
    totals: Counter[str] = Counter()
    for series, count in counts.items():
        totals[getattr(series, label)] += count
    for value in (*exempt, OTHER):
        totals.pop(value, None)
    return totals


def _count_aggregated(
    counts: Iterable[Series], label: str, kept: Collection[str], exempt: Collection[str]
) -> int:
    return len({getattr(series, label) for series in counts} - set(kept) - set(exempt) - {OTHER})


def _regroup(counts: Mapping[Series, int], relabel: Callable[[Series], Series]) -> Mapping[Series, int]:
    regrouped: Counter[Series] = Counter()
    for series, count in counts.items():
        regrouped[relabel(series)] += count
    return regrouped
