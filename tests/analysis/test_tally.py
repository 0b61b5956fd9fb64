"""The tally: the same counts whether a socket is new, known, changed or gone."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterator, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

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
    Key,
    ProcessId,
    Socket,
    Unowned,
)
from exporter.sources import portable

HOME = bytes((127, 0, 0, 1))


def socket(cookie: int, state: int = ESTABLISHED, port: int = 443, holder: int = 1) -> Socket:
    return Socket(state, HOME, 50_000, HOME, port, holder, cookie)


def batch(sockets: Sequence[Socket], *, time_wait: bool = False) -> Batch:
    """A batch with the keys that the kernel's source gives."""

    def key(row: Socket) -> Key:
        plain = TIME_WAIT if time_wait else ESTABLISHED
        return row.cookie if row.state == plain else (row.state, row.cookie, row.holder)

    holders = array("I", [row.holder for row in sockets]).tobytes()
    return Batch([key(row) for row in sockets], time_wait, holders, portable.batch(sockets).take)


def group(row: Socket, _before: Group | None = None) -> Group:
    return Group(row.state, ProcessId(row.holder, 0.0), Direction.OUTBOUND, row.remote_port)


def count(tally: Tally, *batches: Batch) -> Counter[Group]:
    return tally.settle(tally.read(batches), group)


ROWS = st.lists(
    st.builds(
        socket,
        st.integers(1, 60),
        st.sampled_from([ESTABLISHED, TIME_WAIT, CLOSE_WAIT, FIN_WAIT2]),
        st.just(443),
        st.integers(1, 3),
    ),
    unique_by=lambda row: row.cookie,
)


@given(st.lists(ROWS, min_size=1, max_size=6))
def test_every_reading_counts_exactly_what_is_there(readings: list[list[Socket]]) -> None:
    """A cookie keeps its holder here, as in the kernel while a socket stays in one state."""
    tally = Tally()
    for rows in readings:
        rows = [row._replace(holder=row.cookie % 3 + 1) for row in rows]
        waiting = [row for row in rows if row.state == TIME_WAIT]
        others = [row for row in rows if row.state != TIME_WAIT]
        counted = count(tally, batch(others), batch(waiting, time_wait=True))
        assert Counter(map(group, rows)) == counted


def test_a_known_socket_is_not_looked_at_again() -> None:
    tally = Tally()
    count(tally, batch([socket(1), socket(2)]))
    reading = tally.read([batch([socket(1), socket(2), socket(3, holder=9)])])
    assert reading.unseen_holders() == {9}


def test_all_holders_are_live() -> None:
    tally = Tally()
    count(tally, batch([socket(1, holder=5)]))
    reading = tally.read([batch([socket(1, holder=5), socket(2, holder=6)])])
    assert reading.live_holders() == {5, 6}


def test_a_changed_state_is_classified_knowing_what_was_before() -> None:
    tally = Tally()
    count(tally, batch([socket(1)]))
    seen: list[Group | None] = []
    for state in (CLOSE_WAIT, FIN_WAIT2):
        reading = tally.read([batch([socket(1, state)])])
        tally.settle(reading, lambda row, before: seen.append(before) or group(row))
    assert [ESTABLISHED, CLOSE_WAIT] == [before.state for before in seen if before]


def test_time_wait_is_told_apart_from_the_connection_it_was() -> None:
    tally = Tally()
    count(tally, batch([socket(1)]))
    counted = count(tally, batch([socket(1, TIME_WAIT, holder=0)], time_wait=True))
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
    before: list[Group | None] = []
    tally.settle(tally.read([batch([socket(1)])]), lambda row, was: before.append(was) or group(row))
    assert [group(socket(1))] == before


def test_a_source_without_cookies_remembers_no_past() -> None:
    tally = Tally()
    before: list[Group | None] = []
    for state in (ESTABLISHED, CLOSE_WAIT):
        read = tally.read([portable.batch([socket(0, state)])])
        tally.settle(read, lambda row, was: before.append(was) or group(row))
    assert [None, None] == before


def test_a_source_that_fails_half_way_changes_nothing() -> None:
    def broken() -> Iterator[Batch]:
        yield batch([socket(2)])
        raise OSError("gone")

    tally = Tally()
    count(tally, batch([socket(1)]))
    with pytest.raises(OSError, match="gone"):
        tally.read(broken())
    assert count(tally, batch([socket(1)])) == {group(socket(1)): 1}


def test_sockets_that_are_gone_are_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tally_module, "_SLACK_AT_LEAST", 10)
    tally = Tally()
    for start in range(0, 1_000, 100):
        rows = [socket(cookie, holder=start + 1) for cookie in range(start, start + 100)]
        assert count(tally, batch(rows)).total() == 100
    assert len(tally.owners()) <= 4
    assert count(tally, batch(rows)) == {group(rows[0]): 100}


def test_dropping_keeps_the_past_of_those_still_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tally_module, "_SLACK_AT_LEAST", 0)
    tally = Tally()
    count(tally, batch([socket(cookie) for cookie in range(1, 101)]))
    half_closed = [socket(1, CLOSE_WAIT)]
    for _ in range(3):
        count(tally, batch(half_closed))
    before: list[Group | None] = []
    tally.settle(
        tally.read([batch([socket(1, TIME_WAIT, holder=0)], time_wait=True)]),
        lambda row, was: before.append(was) or group(row),
    )
    assert [group(half_closed[0])] == before


def test_an_owner_not_found_can_be_tried_again() -> None:
    tally = Tally()
    lost = Group(ESTABLISHED, Unowned.NOT_FOUND, Direction.OUTBOUND, 443)
    tally.settle(tally.read([batch([socket(1)])]), lambda _row, _before: lost)
    tally.forget({Unowned.NOT_FOUND})
    assert count(tally, batch([socket(1)])) == {group(socket(1)): 1}
