"""The checks of the soak test: accepted and rejected values."""

from __future__ import annotations

from typing import Final

import pytest

from ..oracle import Row
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


def test_process_without_as_many_open_descriptors_as_dead_ones_is_reported() -> None:
    dead = {("a", "lost"): 30, ("a", "unknown"): 10, ("b", "lost"): 1, ("c", "lost"): 0}
    assert judge.check_open_fds(dead, {"a": 40.0, "b": 7.0}) == []
    assert judge.check_open_fds(dead, {"a": 36.0}) == [
        "a has 40 dead descriptors and 36 open ones",
        "b has 1 dead descriptors and 0 open ones",
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


STEADY: Final = 100
"""Number of scrapes, one each second, before a change, or without one."""


def mismatches(
    output: judge.Held, *held: judge.Held, resolvable: str = "parent child leaker pool", ignored: str = ""
) -> list[judge.Mismatch]:
    """Return what is wrong in a scrape. held: by the processes for a long time, and then in each scrape."""
    history = judge.History(0.0)
    for second, processes in enumerate([*held[:1] * STEADY, *held[1:]]):
        history.add(processes, processes, float(second))
    return [*judge.compare_held(output, history, resolvable.split(), [ignored])]


def compared(
    output: judge.Held, *held: judge.Held, resolvable: str = "parent child leaker pool"
) -> list[str]:
    return [str(mismatch) for mismatch in mismatches(output, *held, resolvable=resolvable)]


def accepted_scrapes(output: judge.Held, before: judge.Held | None, now: judge.Held) -> int:
    """Return the number of scrapes that may show this after a change. before: None for the first scrapes."""
    history = judge.History(0.0)
    for second in range(STEADY if before is not None else 0):
        history.add(before or {}, before or {}, float(second))
    for scrapes in range(STEADY):
        history.add(now, now, float(STEADY + scrapes) if before is not None else float(scrapes))
        if [*judge.compare_held(output, history, ["parent", "child", "leaker"])]:
            return scrapes
    return STEADY


class TestHeld:
    """Owners in a scrape are compared with the sockets that the processes hold."""

    def test_what_the_processes_hold_is_accepted(self) -> None:
        held = {"parent": {"established": 60, "listen": 1}, "child": {"established": 40, "close_wait": 2}}
        assert compared({**held, "unknown": {"time_wait": 3}}, held) == []

    def test_sockets_of_others_are_wrong_without_any_tolerance(self) -> None:
        held = {"parent": {"established": 60}, "child": {"established": 40}}
        child, parent = mismatches({"parent": {"established": 61}, "child": {"established": 39}}, held)
        assert str(child) == "child has 40 in established and has 39 in the scrape"
        assert str(parent) == "parent has 60 in established and has 61 in the scrape"
        assert (child.is_wrong, parent.is_wrong) == (False, True)

    def test_process_that_holds_nothing_is_wrong(self) -> None:
        held = {"child": {"established": 40}}
        assert compared({**held, "stranger": {"close_wait": 1}}, held) == [
            "stranger has 0 in close_wait and has 1 in the scrape"
        ]

    def test_other_state_is_wrong(self) -> None:
        assert compared({"leaker": {"established": 9}}, {"leaker": {"close_wait": 9}}) == [
            "leaker has 9 in close_wait and has 0 in the scrape",
            "leaker has 0 in established and has 9 in the scrape",
        ]

    def test_other_port_is_wrong(self) -> None:
        """An equal number of new connections hides those handed over, but not if the port differs."""
        held = {"parent": {"established, 9501": 180}, "child": {"established, inbound": 80}}
        output = {"parent": {"established, 9501": 100, "established, inbound": 80}}
        assert compared(output, held) == [
            "child has 80 in established, inbound and has 0 in the scrape",
            "parent has 180 in established, 9501 and has 100 in the scrape",
            "parent has 0 in established, inbound and has 80 in the scrape",
        ]

    def test_unknown_owner_is_missing_where_it_can_be_known(self) -> None:
        held = {"child": {"established": 40}, "soak1": {"established": 600}}
        output = {"soak1": {"established": 590}, "unknown": {"established": 50}}
        assert compared(output, held) == ["child has 40 in established and has 0 in the scrape"]
        assert compared(output, held, resolvable="") == []

    def test_time_wait_may_be_unknown_but_not_a_bystanders(self) -> None:
        held = {"child": {"time_wait": 40}, "pool": {"established": 1}}
        assert compared({"pool": {"established": 1}, "unknown": {"time_wait": 40}}, held) == []
        assert compared({"pool": {"established": 1, "time_wait": 1}}, held) == [
            "pool has 0 in time_wait and has 1 in the scrape"
        ]

    def test_first_three_scrapes_may_miss_owners(self) -> None:
        held = {"parent": {"established": 60}}
        assert accepted_scrapes({}, None, held) == 3
        assert accepted_scrapes({"parent": {"established": 61}}, None, held) == 0


class TestHandOver:
    """A new owner, which is known after 3 scrapes at most."""

    BEFORE: Final = {"parent": {"established": 100}}
    AFTER: Final = {"parent": {"established": 60}, "child": {"established": 40}}

    @pytest.mark.parametrize(
        ("output", "scrapes"),
        [
            (BEFORE, 3),
            ({"parent": {"established": 60}, "unknown": {"established": 40}}, 3),
            (AFTER, STEADY),
            ({"parent": {"established": 60}, "sender": {"established": 40}}, 0),
            ({"parent": {"established": 60}, "child": {"established": 41}}, 0),
        ],
        ids=["previous owner", "unknown", "new owner", "third process", "too many"],
    )
    def test_scrapes_that_may_show_an_owner_after_the_hand_over(
        self, output: judge.Held, scrapes: int
    ) -> None:
        assert accepted_scrapes(output, self.BEFORE, self.AFTER) == scrapes

    def test_previous_owner_is_wrong_afterwards(self) -> None:
        assert compared(self.BEFORE, self.AFTER) == [
            "child has 40 in established and has 0 in the scrape",
            "parent has 60 in established and has 100 in the scrape",
        ]

    def test_range_of_what_was_held_is_shown(self) -> None:
        output = {"parent": {"established": 101}, "child": {"established": 40}}
        assert compared(output, self.BEFORE, self.AFTER) == [
            "parent has 60 to 100 in established and has 101 in the scrape"
        ]


class TestDeadDescriptors:
    HELD: Final = {"leaker": {"dead, lost": 30, "dead, unknown": 2, "listen": 1}}
    CLOSED: Final = {"leaker": {"listen": 1}}

    def leaker(self, lost: int, unknown: int) -> judge.Held:
        return {"leaker": {"dead, lost": lost, "dead, unknown": unknown, "listen": 1}}

    def test_numbers_of_the_processes_are_accepted(self) -> None:
        assert compared(self.HELD, self.HELD) == []

    def test_missing_ones_are_reported(self) -> None:
        assert compared(self.CLOSED, self.HELD) == [
            "leaker has 30 in dead, lost and has 0 in the scrape",
            "leaker has 2 in dead, unknown and has 0 in the scrape",
        ]

    def test_closed_ones_and_those_of_bystanders_are_wrong(self) -> None:
        output = {**self.leaker(30, 0), "pool": {"dead, unknown": 1}}
        assert compared(output, self.CLOSED) == [
            "leaker has 0 in dead, lost and has 30 in the scrape",
            "pool has 0 in dead, unknown and has 1 in the scrape",
        ]

    def test_lost_connection_is_not_an_unknown_one(self) -> None:
        assert compared(self.leaker(32, 0), self.HELD) == [
            "leaker has 30 in dead, lost and has 32 in the scrape",
            "leaker has 2 in dead, unknown and has 0 in the scrape",
        ]

    def test_lost_ones_are_found_after_3_scrapes_and_unseen_ones_after_45_seconds(self) -> None:
        assert accepted_scrapes(self.leaker(0, 2), self.CLOSED, self.HELD) == 3
        assert accepted_scrapes(self.leaker(30, 0), self.CLOSED, self.HELD) == 45
        assert accepted_scrapes(self.leaker(30, 1), None, self.HELD) == 46

    def test_closed_ones_are_gone_after_3_scrapes(self) -> None:
        assert accepted_scrapes(self.leaker(30, 0), self.HELD, self.CLOSED) == 3
        assert accepted_scrapes(self.leaker(0, 1), self.HELD, self.CLOSED) == 3

    def test_ignored_ones_may_be_missing_but_not_wrong(self) -> None:
        assert mismatches(self.leaker(30, 0), self.HELD, ignored="dead, unknown") == []
        (mismatch,) = mismatches(self.leaker(30, 3), self.HELD, ignored="dead, unknown")
        assert mismatch.is_wrong


class TestFormerOwners:
    SERVICE: Final = bytes([127, 0, 0, 1]), 9504
    CLIENT: Final = bytes([127, 0, 0, 1]), 40_000

    def row(self, state: str, local: judge.Endpoint, remote: judge.Endpoint) -> Row:
        return Row(state, *local, *remote, 0, 0)

    def test_client_and_server_are_told_apart(self) -> None:
        closers = judge.Closers({self.SERVICE: {"client"}}, {self.SERVICE: {"server"}})
        client, server = (
            self.row("time_wait", self.CLIENT, self.SERVICE),
            self.row("fin_wait2", self.SERVICE, self.CLIENT),
        )
        assert judge.former_owners([client, client, server], closers) == {
            "client": {"time_wait, 9504": 2},
            "server": {"fin_wait2, inbound": 1},
        }

    def test_socket_counts_for_each_process_that_may_have_closed_it(self) -> None:
        closers = judge.Closers({self.SERVICE: {"parent", "child"}}, {})
        row = self.row("time_wait", self.CLIENT, self.SERVICE)
        assert judge.former_owners([row], closers) == {
            "parent": {"time_wait, 9504": 1},
            "child": {"time_wait, 9504": 1},
        }

    def test_sockets_with_an_owner_and_of_other_services_are_ignored(self) -> None:
        closers = judge.Closers({self.SERVICE: {"client"}}, {self.SERVICE: {"server"}})
        others = [
            self.row("established", self.CLIENT, self.SERVICE),
            self.row("close_wait", self.SERVICE, self.CLIENT),
            self.row("time_wait", self.CLIENT, (self.SERVICE[0], 9505)),
        ]
        assert judge.former_owners(others, closers) == {}


def test_parts_of_what_is_held_are_added() -> None:
    parts = {"a": {"listen": 1}}, {"a": {"listen": 1, "established": 2}, "b": {"time_wait": 3}}
    assert judge.add_held(*parts) == {"a": {"listen": 2, "established": 2}, "b": {"time_wait": 3}}
