"""The checks of the soak test: accepted and rejected values."""

from __future__ import annotations

import pytest

from . import judge
from .judge import OwnerCounts, Sample

MEBIBYTE = 1 << 20


def steady(number: int = 50) -> list[Sample]:
    """Return samples whose memory varies without growth."""
    return [Sample(float(at), 40 * MEBIBYTE + (at % 7) * 100_000, 12 + at % 2, 3) for at in range(number)]


class TestCounts:
    def test_counts_are_equal_without_changes(self) -> None:
        counts = {"established": 5, "time_wait": 3}
        assert judge.compare_counts({**counts, "close": 0}, counts, counts) == []
        assert judge.compare_counts({"established": 5, "time_wait": 4}, counts, counts) == [
            "4 in time_wait, where ss counts 3 and then 3"
        ]

    def test_count_between_before_and_after_is_accepted(self) -> None:
        for output, correct in ((2, False), (3, True), (5, True), (9, True), (10, False)):
            assert (judge.compare_counts({"listen": output}, {"listen": 3}, {"listen": 9}) == []) is correct

    def test_count_may_differ_by_the_churn(self) -> None:
        for output, correct in ((92, False), (93, True), (107, True), (108, False)):
            counts = {"listen": 100}
            assert (judge.compare_counts({"listen": output}, counts, counts, slack=7) == []) is correct

    def test_missing_sockets_are_reported(self) -> None:
        assert judge.compare_counts({}, {"closing": 1}, {"closing": 1}) == [
            "0 in closing, where ss counts 1 and then 1"
        ]


def test_series_that_do_not_add_up_are_reported() -> None:
    series = {("listen", "a", "none"): 2.0, ("listen", "b", "none"): 1.0, ("close_wait", "a", "80"): 4.0}
    assert judge.check_sums(series, {"listen": 3, "close_wait": 4, "closing": 0}) == []
    assert judge.check_sums(series, {"listen": 4, "close_wait": 4}) == [
        "series of listen add up to 3, not to 4"
    ]


def test_owners_are_correct_wrong_or_unknown() -> None:
    held = {"soak1": {"established": 10, "listen": 2}, "soak2": {"established": 5}}
    output = {"soak1": {"established": 8, "listen": 2}, "soak2": {"established": 6}, "other": {"listen": 9}}
    assert judge.compare_owners(output, held) == OwnerCounts(correct=15, wrong=1, total=17)
    assert judge.wrong_owners(output, held) == (
        "soak1 has 10 in established and has 8 in the scrape, "
        "soak2 has 5 in established and has 6 in the scrape"
    )


class TestLeaks:
    def test_constant_values_are_not_a_leak(self) -> None:
        assert list(judge.leaks(steady())) == []

    def test_no_samples_are_not_a_leak(self) -> None:
        assert list(judge.leaks([])) == list(judge.leaks(steady(1))) == []

    @pytest.mark.parametrize(("each", "leaks"), [(30_000, 0), (100_000, 1)])
    def test_memory_growing_with_each_scrape_is_a_leak(self, each: int, leaks: int) -> None:
        growing = [one._replace(resident=one.resident + each * at) for at, one in enumerate(steady())]
        assert len(list(judge.leaks(growing))) == leaks
        assert judge.growth(growing) == pytest.approx(49 * each, abs=200_000)

    def test_shrinking_memory_is_not_a_leak(self) -> None:
        shrinking = [one._replace(resident=one.resident - 100_000 * at) for at, one in enumerate(steady())]
        assert list(judge.leaks(shrinking)) == []

    @pytest.mark.parametrize("what", ["descriptors", "threads"])
    def test_growing_descriptors_and_threads_are_a_leak(self, what: str) -> None:
        growing = [one._replace(**{what: 12 + at // 10}) for at, one in enumerate(steady())]
        (leak,) = judge.leaks(growing)
        assert leak == f"12 to 16 {what}, at first 13 and later 15"
