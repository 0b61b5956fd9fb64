"""The steps of one count: TIME_WAIT last, what is not remembered, and a census."""

from __future__ import annotations

from collections import Counter

import pytest

from exporter.analysis.ephemeral import PortsTaken
from exporter.analysis.tally import Tally
from exporter.model import CLOSE_WAIT, ESTABLISHED, TIME_WAIT, EphemeralRange
from exporter.sources import portable

from .batches import Asked, batches, count, each, group, settle, socket


@pytest.mark.parametrize("source", ["kernel", "portable"])
def test_time_wait_is_classified_after_all_others(source: str) -> None:
    rows = [
        socket(cookie, state)
        for cookie, state in enumerate([TIME_WAIT, ESTABLISHED, TIME_WAIT, CLOSE_WAIT], 1)
    ]
    tally = Tally()
    reading = tally.read(batches(rows) if source == "kernel" else portable.batches(rows))
    asked = Asked()
    for time_wait in (False, True):
        tally.settle(reading, each(asked), time_wait=time_wait)
        if not time_wait:
            assert {one.state for one in tally.groups(reading)} == {ESTABLISHED, CLOSE_WAIT}
    assert [row.state for row in asked.rows] == [ESTABLISHED, CLOSE_WAIT, TIME_WAIT, TIME_WAIT]
    assert tally.finish(reading) == Counter(map(group, rows))


@pytest.mark.parametrize("source", ["kernel", "portable"])
def test_time_wait_in_doubt_is_asked_for_again_and_nothing_else(source: str) -> None:
    rows = [socket(1), socket(2, TIME_WAIT, 443), socket(3, TIME_WAIT, 80), socket(4, CLOSE_WAIT)]
    given = batches(rows) if source == "kernel" else list(portable.batches(rows))
    tally = Tally()
    count(tally, *given)
    tally.forget_time_wait(lambda one: one.state == TIME_WAIT and one.port == 443)
    asked = Asked()
    settle(tally, tally.read(given), asked)
    assert asked.rows == [rows[1]]


def test_what_is_not_to_be_remembered_is_counted_and_asked_for_again() -> None:
    tally = Tally()
    for _ in range(2):
        reading = tally.read(batches([socket(1, holder=9), socket(2, TIME_WAIT)]))
        assert reading.unseen_holders() == {9, 1}
        assert settle(tally, reading, remember=False).total() == 2


def test_a_census_is_given_the_ends_of_all_sockets_known_or_not() -> None:
    tally = Tally()
    rows = [socket(cookie)._replace(local_port=port) for cookie, port in enumerate((50_000, 50_001, 9), 1)]
    count(tally, *batches(rows[:1]))
    taken = PortsTaken(EphemeralRange(50_000, 50_002))
    tally.read(batches([*rows, socket(4, TIME_WAIT)._replace(local_port=50_002)]), taken)
    assert taken.most() == 3
