"""What a tally remembers of sockets that went, and of readings that failed."""

from __future__ import annotations

import pytest

from exporter.analysis import memory as memory_module
from exporter.analysis import tally as tally_module
from exporter.analysis.reading import Reading
from exporter.analysis.tally import Tally
from exporter.model import CLOSE_WAIT, FIN_WAIT2, TIME_WAIT, ProcessId

from .batches import Asked, batch, count, each, group, settle, socket


def test_sockets_that_are_gone_are_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory_module, "entries_at_most", lambda there: there + 10)
    monkeypatch.setattr(tally_module, "_SPARE_AT_LEAST", 1)
    tally = Tally()
    for start in range(0, 1_000, 100):
        rows = [socket(cookie, holder=start + 1) for cookie in range(start, start + 100)]
        assert count(tally, batch(rows)).total() == 100
    assert len(tally.owners()) <= 4
    assert count(tally, batch(rows)) == {group(rows[0]): 100}


def test_dropping_keeps_the_past_of_those_still_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory_module, "entries_at_most", lambda there: there)
    tally = Tally()
    count(tally, batch([socket(cookie) for cookie in range(1, 101)]))
    half_closed = [socket(1, CLOSE_WAIT)]
    for _ in range(3):
        count(tally, batch(half_closed))
    asked = Asked()
    settle(tally, tally.read([batch([socket(1, TIME_WAIT, holder=0)])]), asked)
    assert asked.before == [group(half_closed[0])]


def test_what_comes_and_goes_takes_no_more_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither do kinds that all change, nor owners that die one after the other."""
    monkeypatch.setattr(memory_module, "entries_at_most", lambda there: there + 10)
    tally = Tally()
    remembered = []
    for turn in range(1, 50):
        tally.forget({ProcessId(turn - 1, 0.0)})
        cookies = range(turn * 20, turn * 20 + 400)
        held = [socket(cookie, holder=turn) for cookie in cookies]
        ended = [socket(10_000 + cookie, TIME_WAIT, holder=0) for cookie in cookies]
        count(tally, batch(held), batch(ended))
        past = tally.before([*range(2_000), *range(10_000, 12_000)])
        remembered.append(len(past) - past.count(None))
    assert max(remembered[10:]) <= max(remembered[:10]) < 1.2 * 800


def test_what_was_new_in_a_reading_that_failed_half_way_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also of a kind that is being tidied up."""
    monkeypatch.setattr(memory_module, "entries_at_most", lambda there: there - 1)
    tally = Tally()
    count(tally, batch([socket(1)]))
    reading = tally.read([batch([socket(1), socket(2)])])
    tally.settle(reading, each(group), time_wait=False)
    asked = Asked()
    settle(tally, tally.read([batch([socket(2, FIN_WAIT2, holder=0)])]), asked)
    assert asked.before == [group(socket(2))]


def test_a_reading_that_failed_from_the_start_takes_no_past_away() -> None:
    tally = Tally()
    count(tally, batch([socket(1)]))
    tally.forget({ProcessId(1, 0.0)})
    tally.finish(Reading())
    asked = Asked()
    settle(tally, tally.read([batch([socket(1, FIN_WAIT2, holder=0)])]), asked)
    assert asked.before == [group(socket(1))]


def test_owners_that_have_died_are_not_named_for_ever() -> None:
    """Each had one socket, beside those that stay."""
    tally = Tally()
    staying = [socket(cookie) for cookie in range(1, 201)]
    for turn in range(1_000, 1_500):
        tally.forget({ProcessId(turn - 1, 0.0)})
        count(tally, batch([*staying, socket(turn, holder=turn)]))
    assert len(tally.owners()) < 100
