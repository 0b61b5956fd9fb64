"""Folding: whatever the counts and limits, no socket is lost and the bounds hold."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from hypothesis import given
from hypothesis import strategies as st

from exporter.analysis.fold import KEEPS, OTHER, Limits, Series, Visible, fold
from exporter.model.sockets import STATE_NAMES

ALWAYS = frozenset({"unknown", "inbound", "none"})

STATES = st.sampled_from(sorted(STATE_NAMES.values()))
PROCESSES = st.sampled_from(["nginx", "postgres", "unknown", "other", *(f"job{n}" for n in range(30))])
PORTS = st.sampled_from(["inbound", "none", "other", *(str(port) for port in range(440, 480))])
COUNTS = st.dictionaries(st.builds(Series, STATES, PROCESSES, PORTS), st.integers(1, 10_000), max_size=200)
LIMITS = st.builds(Limits, st.integers(0, 20), st.integers(0, 20), st.integers(len(STATE_NAMES), 120))


def by_state(counts: Mapping[Series, int]) -> Counter[str]:
    totals: Counter[str] = Counter()
    for series, count in counts.items():
        totals[series.state] += count
    return totals


@given(COUNTS, COUNTS, LIMITS)
def test_the_sum_of_every_state_survives(
    earlier: dict[Series, int], counts: dict[Series, int], limits: Limits
) -> None:
    before = fold(earlier, limits, Visible(), ALWAYS).visible
    assert by_state(counts) == by_state(fold(counts, limits, before, ALWAYS).counts)


@given(COUNTS, COUNTS, LIMITS)
def test_the_bounds_hold(earlier: dict[Series, int], counts: dict[Series, int], limits: Limits) -> None:
    before = fold(earlier, limits, Visible(), ALWAYS).visible
    folded = fold(counts, limits, before, ALWAYS)
    exempt = ALWAYS | {OTHER}
    assert len(folded.counts) <= limits.series
    assert len({series.process for series in folded.counts} - exempt) <= limits.processes
    assert len({series.port for series in folded.counts} - exempt) <= limits.ports


@given(COUNTS, LIMITS)
def test_the_order_of_the_counts_does_not_matter(counts: dict[Series, int], limits: Limits) -> None:
    backwards = dict(reversed(counts.items()))
    assert fold(counts, limits, Visible(), ALWAYS) == fold(backwards, limits, Visible(), ALWAYS)


@given(COUNTS)
def test_what_fits_is_left_alone(counts: dict[Series, int]) -> None:
    folded = fold(counts, Limits(100, 100, 1_000), Visible(), ALWAYS)
    assert folded.counts == counts
    assert (folded.hidden_processes, folded.hidden_ports, folded.hidden_series) == (0, 0, 0)


def test_the_biggest_stay_visible() -> None:
    counts = {Series("established", name, "443"): size for name, size in [("a", 1), ("b", 5), ("c", 3)]}
    folded = fold(counts, Limits(2, 10, 100), Visible())
    assert folded.counts == {
        Series("established", "b", "443"): 5,
        Series("established", "c", "443"): 3,
        Series("established", OTHER, "443"): 1,
    }
    assert folded.hidden_processes == 1


def test_a_newcomer_must_be_clearly_bigger() -> None:
    def visible(newcomer: int) -> frozenset[str]:
        counts = {Series("established", "old", "1"): 100, Series("established", "new", "1"): newcomer}
        before = Visible(processes=frozenset({"old"}))
        return fold(counts, Limits(1, 10, 100), before).visible.processes

    assert visible(int(100 * KEEPS)) == {"old"} or visible(int(100 * KEEPS)) == {"new"}
    assert visible(int(100 * KEEPS) - 1) == {"old"}
    assert visible(int(100 * KEEPS) + 1) == {"new"}


def test_series_that_do_not_fit_lose_their_port_first() -> None:
    counts = {Series("established", "a", str(port)): port for port in range(1, 31)}
    folded = fold(counts, Limits(10, 100, 11), Visible())
    assert len(folded.counts) == 11
    assert folded.counts[Series("established", "a", "30")] == 30
    assert folded.counts[Series("established", "a", OTHER)] == sum(range(1, 21))
    assert folded.hidden_series == 20


def test_series_without_room_for_each_process_lose_the_process_too() -> None:
    counts = {Series("established", f"job{n}", "1"): 1 for n in range(50)}
    folded = fold(counts, Limits(100, 100, 11), Visible())
    assert len(folded.counts) == 11
    assert folded.counts[Series("established", OTHER, OTHER)] == 40
