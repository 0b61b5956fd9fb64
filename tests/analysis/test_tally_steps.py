"""The steps of one count: TIME_WAIT last, what is not remembered, and a census."""

from __future__ import annotations

from collections import Counter

import pytest

from exporter.analysis.tally import Tally
from exporter.model import CLOSE_WAIT, ESTABLISHED, TIME_WAIT
from exporter.sources import portable

from .batches import Asked, count, group, settle, socket, split


@pytest.mark.parametrize("source", ["kernel", "portable"])
def test_time_wait_is_classified_after_all_others(source: str) -> None:
    rows = [
        socket(cookie, state)
        for cookie, state in enumerate([TIME_WAIT, ESTABLISHED, TIME_WAIT, CLOSE_WAIT], 1)
    ]
    tally = Tally()
    reading = tally.read(split(rows) if source == "kernel" else [portable.batch(rows)])
    asked = Asked()
    for time_wait in (False, True):
        tally.settle(reading, asked, time_wait=time_wait)
        if not time_wait:
            assert {one.state for one in tally.groups(reading)} == {ESTABLISHED, CLOSE_WAIT}
    assert [row.state for row in asked.rows] == [ESTABLISHED, CLOSE_WAIT, TIME_WAIT, TIME_WAIT]
    assert tally.finish(reading) == Counter(map(group, rows))


@pytest.mark.parametrize("source", ["kernel", "portable"])
def test_time_wait_in_doubt_is_asked_for_again_and_nothing_else(source: str) -> None:
    rows = [socket(1), socket(2, TIME_WAIT, 443), socket(3, TIME_WAIT, 80), socket(4, CLOSE_WAIT)]
    batches = split(rows) if source == "kernel" else [portable.batch(rows)]
    tally = Tally()
    count(tally, *batches)
    tally.forget_time_wait(lambda one: one.state == TIME_WAIT and one.port == 443)
    asked = Asked()
    settle(tally, tally.read(batches), asked)
    assert asked.rows == [rows[1]]


def test_what_is_not_to_be_remembered_is_counted_and_asked_for_again() -> None:
    tally = Tally()
    for _ in range(2):
        reading = tally.read(split([socket(1, holder=9), socket(2, TIME_WAIT)]))
        assert reading.unseen_holders() == {9, 1}
        assert settle(tally, reading, remember=False).total() == 2


def test_a_census_gives_all_sockets_known_or_not() -> None:
    tally = Tally()
    rows = [socket(1), socket(2), socket(3, TIME_WAIT)]
    count(tally, *split(rows[:1]))
    taken = tally.read(split(rows), census=True).rows
    assert taken is not None
    assert sorted(row for some in taken for row in some) == sorted(rows)
    assert tally.read([], census=True).rows == []
    assert tally.read(split(rows)).rows is None
