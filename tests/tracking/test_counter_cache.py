"""Entries that a counter keeps for closed sockets, and after failed collections."""

from __future__ import annotations

import pytest

from exporter.model.process import ProcessId
from exporter.model.sockets import CLOSE_WAIT, FIN_WAIT2, TIME_WAIT
from exporter.tracking import counter as counter_module
from exporter.tracking import group_cache as group_cache_module
from exporter.tracking.counter import SocketCounter
from exporter.tracking.pending import CountInProgress

from .batches import RecordingClassifier, batch, complete, count, group, one_by_one, socket


def test_closed_sockets_are_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(group_cache_module, "_MAX_CACHED_RATIO", 1.1)
    monkeypatch.setattr(counter_module, "_MIN_EMPTY_GROUPS", 1)
    counter = SocketCounter()
    for start in range(0, 1_000, 100):
        rows = [socket(cookie, owner_key=start + 1) for cookie in range(start, start + 100)]
        assert count(counter, batch(rows)).total() == 100
    assert len(counter.owners()) <= 4
    assert count(counter, batch(rows)) == {group(rows[0]): 100}


def test_dropping_keeps_previous_groups_of_open_sockets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(group_cache_module, "_MAX_CACHED_RATIO", 1.0)
    counter = SocketCounter()
    count(counter, batch([socket(cookie) for cookie in range(1, 101)]))
    half_closed = [socket(1, CLOSE_WAIT)]
    for _ in range(3):
        count(counter, batch(half_closed))
    recorded = RecordingClassifier()
    complete(counter, counter.begin([batch([socket(1, TIME_WAIT, owner_key=0)])]), recorded)
    assert recorded.previous == [group(half_closed[0])]


def test_cache_stays_bounded_while_sockets_come_and_go(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither key spaces that all change nor owners that exit one after the other make it grow."""
    monkeypatch.setattr(group_cache_module, "_MAX_CACHED_RATIO", 1.1)
    counter = SocketCounter()
    remembered = []
    for turn in range(1, 50):
        counter.invalidate({ProcessId(turn - 1, 0.0)})
        cookies = range(turn * 20, turn * 20 + 400)
        held = [socket(cookie, owner_key=turn) for cookie in cookies]
        ended = [socket(10_000 + cookie, TIME_WAIT, owner_key=0) for cookie in cookies]
        count(counter, batch(held), batch(ended))
        previous = counter.previous_groups([*range(2_000), *range(10_000, 12_000)])
        remembered.append(len(previous) - previous.count(None))
    assert max(remembered[10:]) <= max(remembered[:10]) < 1.2 * 800


def test_sockets_classified_before_a_failure_are_cached(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also in a key space whose cache is being rebuilt."""
    monkeypatch.setattr(group_cache_module, "_MAX_CACHED_RATIO", 0.5)
    counter = SocketCounter()
    count(counter, batch([socket(1)]))
    pending = counter.begin([batch([socket(1), socket(2)])])

    def fail() -> None:
        raise OSError("the kernel stopped answering")

    with pytest.raises(OSError, match="stopped"):
        counter.complete(pending, one_by_one(group), fail, lambda *_: None)
    recorded = RecordingClassifier()
    complete(counter, counter.begin([batch([socket(2, FIN_WAIT2, owner_key=0)])]), recorded)
    assert recorded.previous == [group(socket(2))]


def test_failed_collection_keeps_dropped_entries() -> None:
    counter = SocketCounter()
    count(counter, batch([socket(1)]))
    counter.invalidate({ProcessId(1, 0.0)})
    complete(counter, CountInProgress())
    recorded = RecordingClassifier()
    complete(counter, counter.begin([batch([socket(1, FIN_WAIT2, owner_key=0)])]), recorded)
    assert recorded.previous == [group(socket(1))]


def test_owners_of_exited_processes_are_dropped() -> None:
    """Each owns one socket; other sockets stay open."""
    counter = SocketCounter()
    staying = [socket(cookie) for cookie in range(1, 201)]
    for turn in range(1_000, 1_500):
        counter.invalidate({ProcessId(turn - 1, 0.0)})
        count(counter, batch([*staying, socket(turn, owner_key=turn)]))
    assert len(counter.owners()) < 100
