"""The tally: the same counts whether a socket is new, known, changed or gone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.analysis import memory as memory_module
from exporter.analysis import tally as tally_module
from exporter.analysis.tally import Tally
from exporter.model import (
    CLOSE_WAIT,
    ESTABLISHED,
    FIN_WAIT2,
    TIME_WAIT,
    Batch,
    Direction,
    Group,
    ProcessId,
    Socket,
    Unowned,
)
from exporter.sources import portable

from .batches import ROWS, Asked, batch, batches, count, group, settle, socket


@pytest.fixture(scope="module", params=["remembering", "tidy"])
def memory(request: pytest.FixtureRequest) -> Iterator[None]:
    """Either so many sockets are remembered that none is dropped, or what is gone is dropped at once."""
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "tidy":
            patch.setattr(memory_module, "entries_at_most", lambda there: there - 1)
            patch.setattr(tally_module, "_SPARE_AT_LEAST", -1)
        yield


@pytest.mark.usefixtures("memory")
@given(st.lists(ROWS, min_size=1, max_size=6), st.sets(st.integers(0, 5)))
def test_every_reading_counts_exactly_what_is_there(
    readings: list[list[Socket]], forgotten: set[int]
) -> None:
    """A cookie keeps its holder here, as in the kernel while a socket stays in one state."""
    tally = Tally()
    for number, rows in enumerate(readings):
        rows = [row._replace(holder=row.cookie % 3 + 1) for row in rows]
        if number in forgotten:
            tally.forget({ProcessId(1, 0.0)})
            tally.forget_time_wait(lambda one: one.owner == ProcessId(2, 0.0))
        counted = settle(tally, tally.read(batches(rows)), remember=number % 3 != 1)
        assert Counter(map(group, rows)) == counted


QUEUED = st.dictionaries(st.integers(1, 60), st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=20)


@pytest.mark.usefixtures("memory")
@given(st.lists(st.tuples(ROWS, QUEUED), min_size=1, max_size=4), st.sets(st.integers(0, 3)))
def test_every_queued_byte_is_some_groups(
    readings: list[tuple[list[Socket], dict[int, tuple[int, int]]]], doubtful: set[int]
) -> None:
    """Also those of sockets that are to be classified again, for something was not known."""
    tally = Tally()
    for number, (rows, queues) in enumerate(readings):
        reading = tally.read(batches(rows, queues))
        settle(tally, reading, remember=number not in doubtful)
        sums = tally.queues(reading)
        present = [queues[row.cookie] for row in rows if row.state != TIME_WAIT and row.cookie in queues]
        assert [sum(some) for some in zip((0, 0), *sums.values(), strict=True)] == [
            sum(some) for some in zip((0, 0), *present, strict=True)
        ]


def test_bytes_are_counted_for_the_group_of_their_socket() -> None:
    tally = Tally()
    rows = [socket(1, holder=5), socket(2, holder=5), socket(3, holder=6), socket(4, holder=6)]
    reading = tally.read([batch(rows, queues={1: (10, 0), 2: (1, 2), 3: (0, 7)})])
    settle(tally, reading)
    assert tally.queues(reading) == {group(rows[0]): (11, 2), group(rows[2]): (0, 7)}


def test_a_known_socket_is_not_looked_at_again() -> None:
    tally = Tally()
    count(tally, batch([socket(1), socket(2)]))
    reading = tally.read([batch([socket(1), socket(2), socket(3, holder=9)])])
    assert reading.unseen_holders() == {9}


def test_all_holders_are_live() -> None:
    tally = Tally()
    count(tally, batch([socket(1, holder=5)]))
    reading = tally.read([batch([socket(1, holder=5), socket(2, holder=6)])])
    assert reading.holders.all() == {5, 6}


def test_a_changed_state_is_classified_knowing_what_was_before() -> None:
    tally = Tally()
    count(tally, batch([socket(1)]))
    asked = Asked()
    for state in (CLOSE_WAIT, FIN_WAIT2):
        reading = tally.read([batch([socket(1, state)])])
        settle(tally, reading, asked)
    assert [ESTABLISHED, CLOSE_WAIT] == [before.state for before in asked.before if before]


def test_time_wait_is_told_apart_from_the_connection_it_was() -> None:
    tally = Tally()
    count(tally, batch([socket(1)]))
    counted = count(tally, batch([socket(1, TIME_WAIT, holder=0)]))
    assert [TIME_WAIT] == [key.state for key in counted]


def test_forgotten_owners_are_asked_for_again() -> None:
    tally = Tally()
    count(tally, batch([socket(1, holder=5), socket(2, holder=6)]))
    tally.forget({ProcessId(5, 0.0)})
    assert tally.read([batch([socket(1, holder=5), socket(2, holder=6)])]).unseen_holders() == {5}


def test_what_was_forgotten_still_knows_its_direction() -> None:
    tally = Tally()
    count(tally, batch([socket(1)]))
    tally.forget({ProcessId(1, 0.0)})
    asked = Asked()
    settle(tally, tally.read([batch([socket(1)])]), asked)
    assert asked.before == [group(socket(1))]


def test_a_source_without_cookies_remembers_no_past() -> None:
    tally = Tally()
    asked = Asked()
    for state in (ESTABLISHED, CLOSE_WAIT):
        read = tally.read(portable.batches([socket(0, state)]))
        settle(tally, read, asked)
    assert asked.before == [None, None]


def test_a_source_that_fails_half_way_changes_nothing() -> None:
    def broken() -> Iterator[Batch]:
        yield batch([socket(2)])
        raise OSError("gone")

    tally = Tally()
    count(tally, batch([socket(1)]))
    with pytest.raises(OSError, match="gone"):
        tally.read(broken())
    assert count(tally, batch([socket(1)])) == {group(socket(1)): 1}


def test_an_owner_not_found_can_be_tried_again() -> None:
    tally = Tally()
    lost = Group(ESTABLISHED, Unowned.NOT_FOUND, Direction.OUTBOUND, 443)
    settle(tally, tally.read([batch([socket(1)])]), lambda _row, _before: lost)
    tally.forget({Unowned.NOT_FOUND})
    assert count(tally, batch([socket(1)])) == {group(socket(1)): 1}
