"""Aggregation into `other`: no socket is lost, and the limits hold."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.metrics.cardinality import HYSTERESIS, KeptSeries, Series, SeriesLimits, aggregate
from exporter.model.sockets import STATE_NAMES

EXEMPT = frozenset({"unknown", "inbound", "none"})

LABELS = st.tuples(st.sampled_from(sorted(STATE_NAMES.values())))
PROCESSES = st.sampled_from(["nginx", "postgres", "unknown", "other", *(f"job{n}" for n in range(30))])
PORTS = st.sampled_from(["inbound", "none", "other", *(str(port) for port in range(440, 480))])
COUNTS = st.dictionaries(st.builds(Series, LABELS, PROCESSES, PORTS), st.integers(1, 10_000), max_size=200)
LIMITS = st.builds(SeriesLimits, st.integers(0, 20), st.integers(0, 20), st.integers(len(STATE_NAMES), 120))


def by_labels(counts: Mapping[Series, int]) -> Counter[tuple[str, ...]]:
    totals: Counter[tuple[str, ...]] = Counter()
    for series, count in counts.items():
        totals[series.labels] += count
    return totals


@given(COUNTS, COUNTS, LIMITS)
def test_sum_by_labels_is_kept(
    earlier: dict[Series, int], counts: dict[Series, int], limits: SeriesLimits
) -> None:
    previous = aggregate(earlier, limits, KeptSeries(), EXEMPT).kept
    assert by_labels(counts) == by_labels(aggregate(counts, limits, previous, EXEMPT).counts)


@given(COUNTS, COUNTS, LIMITS)
def test_limits_hold(earlier: dict[Series, int], counts: dict[Series, int], limits: SeriesLimits) -> None:
    previous = aggregate(earlier, limits, KeptSeries(), EXEMPT).kept
    aggregation = aggregate(counts, limits, previous, EXEMPT)
    exempt = EXEMPT | {"other"}
    assert len(aggregation.counts) <= limits.max_series
    assert len({series.process for series in aggregation.counts} - exempt) <= limits.max_processes
    assert len({series.port for series in aggregation.counts} - exempt) <= limits.max_ports


@given(COUNTS, LIMITS)
def test_result_is_independent_of_the_order(counts: dict[Series, int], limits: SeriesLimits) -> None:
    backwards = dict(reversed(counts.items()))
    assert aggregate(counts, limits, KeptSeries(), EXEMPT) == aggregate(
        backwards, limits, KeptSeries(), EXEMPT
    )


@given(COUNTS)
def test_series_within_the_limits_are_unchanged(counts: dict[Series, int]) -> None:
    aggregation = aggregate(counts, SeriesLimits(100, 100, 1_000), KeptSeries(), EXEMPT)
    assert aggregation.counts == counts
    assert (
        aggregation.aggregated_processes,
        aggregation.aggregated_ports,
        aggregation.aggregated_series,
    ) == (0, 0, 0)


def test_biggest_processes_are_kept() -> None:
    counts = {Series(("established",), name, "443"): size for name, size in [("a", 1), ("b", 5), ("c", 3)]}
    aggregation = aggregate(counts, SeriesLimits(2, 10, 100), KeptSeries())
    assert aggregation.counts == {
        Series(("established",), "b", "443"): 5,
        Series(("established",), "c", "443"): 3,
        Series(("established",), "other", "443"): 1,
    }
    assert aggregation.aggregated_processes == 1


def test_hysteresis() -> None:
    assert HYSTERESIS == 1.25


@pytest.mark.parametrize(("size", "kept"), [(124, "old"), (125, "new"), (126, "new")])
def test_kept_process_stays_until_another_is_a_quarter_bigger(size: int, kept: str) -> None:
    """Processes of 100 x 1.25 and 125 are equally big: the order of their names decides."""
    counts = {Series(("established",), "old", "1"): 100, Series(("established",), "new", "1"): size}
    previous = KeptSeries(processes=frozenset({"old"}))
    assert aggregate(counts, SeriesLimits(1, 10, 100), previous).kept.processes == {kept}


def test_ports_are_aggregated_before_processes() -> None:
    counts = {Series(("established",), "a", str(port)): port for port in range(1, 31)}
    aggregation = aggregate(counts, SeriesLimits(10, 100, 11), KeptSeries())
    assert len(aggregation.counts) == 11
    assert aggregation.counts[Series(("established",), "a", "30")] == 30
    assert aggregation.counts[Series(("established",), "a", "other")] == sum(range(1, 21))
    assert aggregation.aggregated_series == 20


def test_processes_are_aggregated_when_ports_are_not_enough() -> None:
    counts = {Series(("established",), f"job{n}", "1"): 1 for n in range(50)}
    aggregation = aggregate(counts, SeriesLimits(100, 100, 11), KeptSeries())
    assert len(aggregation.counts) == 11
    assert aggregation.counts[Series(("established",), "other", "other")] == 40


def test_labels_of_the_series_are_never_aggregated() -> None:
    labels = [("inbound", "not_read"), ("inbound", "sending"), ("outbound", "not_read")]
    counts = {Series(values, f"job{n}", "1"): n for values in labels for n in range(1, 31)}
    aggregation = aggregate(counts, SeriesLimits(1, 1, 3), KeptSeries())
    assert aggregation.counts == {Series(values, "other", "other"): 465 for values in labels}
