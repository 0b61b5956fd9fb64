"""The soak test's judgement: what it lets pass, and what it does not."""

from __future__ import annotations

import pytest

from . import judge
from .judge import Owned, Sample

MEBIBYTE = 1 << 20


def steady(number: int = 50) -> list[Sample]:
    """Memory that goes up and down, and stays."""
    return [Sample(float(at), 40 * MEBIBYTE + (at % 7) * 100_000, 12 + at % 2, 3) for at in range(number)]


class TestCounts:
    def test_are_equal_when_nothing_came_or_went(self) -> None:
        there = {"established": 5, "time_wait": 3}
        assert judge.beside({**there, "close": 0}, there, there) == []
        assert judge.beside({"established": 5, "time_wait": 4}, there, there) == [
            "4 in time_wait, where ss counts 3 and then 3"
        ]

    def test_lie_between_what_there_was_and_what_there_is(self) -> None:
        for said, right in ((2, False), (3, True), (5, True), (9, True), (10, False)):
            assert (judge.beside({"listen": said}, {"listen": 3}, {"listen": 9}) == []) is right

    def test_may_differ_by_what_may_have_come_and_gone(self) -> None:
        for said, right in ((92, False), (93, True), (107, True), (108, False)):
            counts = {"listen": 100}
            assert (judge.beside({"listen": said}, counts, counts, slack=7) == []) is right

    def test_are_missed(self) -> None:
        assert judge.beside({}, {"closing": 1}, {"closing": 1}) == [
            "0 in closing, where ss counts 1 and then 1"
        ]


def test_series_that_do_not_add_up_are_told() -> None:
    series = {("listen", "a", "none"): 2.0, ("listen", "b", "none"): 1.0, ("close_wait", "a", "80"): 4.0}
    assert judge.conserved(series, {"listen": 3, "close_wait": 4, "closing": 0}) == []
    assert judge.conserved(series, {"listen": 4, "close_wait": 4}) == [
        "series of listen add up to 3, not to 4"
    ]


def test_owners_are_right_or_wrong_or_not_known() -> None:
    held = {"soak1": {"established": 10, "listen": 2}, "soak2": {"established": 5}}
    said = {"soak1": {"established": 8, "listen": 2}, "soak2": {"established": 6}, "other": {"listen": 9}}
    assert judge.owned(said, held) == Owned(right=15, wrong=1, there=17)
    assert judge.disowned(said, held) == (
        "soak1 has 10 in established and is said to have 8, soak2 has 5 in established and is said to have 6"
    )


class TestLeaks:
    def test_what_stays_is_none(self) -> None:
        assert list(judge.leaks(steady())) == []

    def test_nothing_is_none(self) -> None:
        assert list(judge.leaks([])) == list(judge.leaks(steady(1))) == []

    @pytest.mark.parametrize(("each", "leaks"), [(30_000, 0), (100_000, 1)])
    def test_memory_that_grows_with_each_scrape_is_one(self, each: int, leaks: int) -> None:
        growing = [one._replace(resident=one.resident + each * at) for at, one in enumerate(steady())]
        assert len(list(judge.leaks(growing))) == leaks
        assert judge.growth(growing) == pytest.approx(49 * each, abs=200_000)

    def test_memory_that_shrinks_is_none(self) -> None:
        shrinking = [one._replace(resident=one.resident - 100_000 * at) for at, one in enumerate(steady())]
        assert list(judge.leaks(shrinking)) == []

    @pytest.mark.parametrize("what", ["descriptors", "threads"])
    def test_descriptors_and_threads_that_become_more_are_one(self, what: str) -> None:
        growing = [one._replace(**{what: 12 + at // 10}) for at, one in enumerate(steady())]
        (leak,) = judge.leaks(growing)
        assert leak == f"12 to 16 {what}, at first 13 and later 15"
