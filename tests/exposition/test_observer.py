"""One look at the host, when all goes well and when a part fails."""

from __future__ import annotations

import errno
import logging
from dataclasses import replace

import pytest

from exporter.exposition import observer as observer_module
from exporter.exposition.observer import Observer
from exporter.model import (
    CLOSE_WAIT,
    ESTABLISHED,
    LISTEN,
    Cause,
    ClassifiedCloseWait,
    Descriptors,
    Direction,
    Group,
    ProcessId,
    Unowned,
)
from exporter.model.collectors import CollectorName

from .host import CALLER, LISTENER, PRINTD, Host, call, groups

READ = frozenset(
    {
        CollectorName.STATES,
        CollectorName.LISTENERS,
        CollectorName.OWNERS,
        CollectorName.LIMITS,
        CollectorName.CLOSE_WAIT,
        CollectorName.EPHEMERAL,
        CollectorName.DESCRIPTORS,
    }
)
"""The parts for which something is read or counted."""


@pytest.fixture
def host() -> Host:
    return Host()


@pytest.fixture
def observer(host: Host) -> Observer:
    return host.observer()


def test_all_sockets_are_counted_with_their_owners(observer: Observer) -> None:
    seen = observer.observe()
    assert groups(seen) == {
        Group(CLOSE_WAIT, PRINTD, Direction.INBOUND, 631): 1,
        Group(ESTABLISHED, PRINTD, Direction.INBOUND, 631): 1,
        Group(LISTEN, PRINTD, Direction.NONE, 631): 1,
    }
    assert seen.names == {PRINTD: "printd"}
    assert seen.failed == frozenset()
    assert set(seen.seconds) == READ


def test_what_is_beside_the_sockets_is_there(observer: Observer, host: Host) -> None:
    seen = observer.observe()
    assert (seen.limits, seen.counters) == (host.limits, host.counters)
    assert seen.descriptors == {PRINTD: Descriptors(50, 64)}
    assert seen.ports_on_one_address == 0
    assert seen.queues == {}


def test_a_socket_in_close_wait_is_counted_as_among_the_others(observer: Observer, host: Host) -> None:
    (half,) = host.half_closed()
    group = Group(CLOSE_WAIT, PRINTD, Direction.INBOUND, 631)
    assert observer.observe().stuck == [ClassifiedCloseWait(half, group, Cause.NOT_READ, 30.0)]


def test_its_direction_is_known_from_before_when_its_listener_is_long_gone(host: Host) -> None:
    observer = host.observer()
    observer.observe()
    host.listening = []
    for _ in range(200):
        host.seconds()
    assert [stuck.group.direction for stuck in observer.observe().stuck or ()] == [Direction.INBOUND]


def test_a_second_look_asks_only_for_listeners_and_close_wait(observer: Observer, host: Host) -> None:
    observer.observe()
    observer.observe()
    assert host.asked_for == [{0, 5, 6}, {5, 6}]


def test_owners_are_told_of_all_sockets_so_that_they_forget_those_gone(
    observer: Observer, host: Host
) -> None:
    for _ in range(2):
        observer.observe()
        assert host.live == {0, 5, 6}


def test_stale_owners_are_asked_for_again(observer: Observer, host: Host) -> None:
    observer.observe()
    host.stale = {PRINTD}
    host.holders[6] = other = ProcessId(20, 2.0)
    assert Group(CLOSE_WAIT, other, Direction.INBOUND, 631) in groups(observer.observe())


def test_without_sockets_there_are_no_counts(observer: Observer, host: Host) -> None:
    host.broken = {CollectorName.STATES}
    seen = observer.observe()
    assert (seen.groups, seen.queues, seen.failed) == (None, None, frozenset({CollectorName.STATES}))
    assert seen.listeners == [(LISTENER, PRINTD)]


def test_without_listeners_the_sockets_stand(observer: Observer, host: Host) -> None:
    host.broken = {CollectorName.LISTENERS}
    seen = observer.observe()
    assert (seen.listeners, seen.failed) == (None, frozenset({CollectorName.LISTENERS}))
    assert sum(groups(seen).values()) == 2


def test_without_owners_everything_is_counted(observer: Observer, host: Host) -> None:
    host.broken = {CollectorName.OWNERS}
    seen = observer.observe()
    assert (sum(groups(seen).values()), seen.not_found_because) == (3, "unreadable")
    assert seen.failed == frozenset({CollectorName.OWNERS})
    assert [stuck.group.owner for stuck in seen.stuck or ()] == [Unowned.NOT_FOUND]


def test_without_close_wait_the_sockets_stand(observer: Observer, host: Host) -> None:
    host.broken = {CollectorName.CLOSE_WAIT}
    seen = observer.observe()
    assert (seen.stuck, seen.failed) == (None, frozenset({CollectorName.CLOSE_WAIT}))
    assert sum(groups(seen).values()) == 3


def test_without_limits_the_sockets_stand(observer: Observer, host: Host) -> None:
    host.broken = {CollectorName.LIMITS}
    seen = observer.observe()
    assert (seen.limits, seen.counters, seen.failed) == (None, None, frozenset({CollectorName.LIMITS}))
    assert sum(groups(seen).values()) == 3


def test_what_of_the_limits_makes_sense_is_told_beside_the_failure(observer: Observer, host: Host) -> None:
    host.limits = replace(host.limits, time_wait_reuse=None, problems=("tcp_tw_reuse: nonsense",))
    seen = observer.observe()
    assert (seen.limits, seen.failed) == (host.limits, frozenset({CollectorName.LIMITS}))
    assert seen.counters == host.counters


def test_the_descriptors_of_the_dead_are_not_looked_up(observer: Observer, host: Host) -> None:
    host.dead = {PRINTD}
    assert observer.observe().descriptors == {}


def test_a_process_whose_descriptors_cannot_be_read_is_left_out(observer: Observer, host: Host) -> None:
    host.descriptors = {}
    seen = observer.observe()
    assert (seen.descriptors, seen.failed) == ({}, frozenset())


@pytest.mark.parametrize("error", [errno.EIO, errno.EMFILE], ids=errno.errorcode.__getitem__)
def test_a_process_whose_descriptors_fail_to_be_read_hides_no_other(
    observer: Observer, host: Host, error: int
) -> None:
    host.rows = [*host.rows, call(40_000)]
    host.faulty = {10: error}
    seen = observer.observe()
    assert seen.descriptors == {CALLER: Descriptors(7, None)}
    assert seen.failed == frozenset({CollectorName.DESCRIPTORS})


def test_what_is_not_wanted_is_not_read(host: Host) -> None:
    host.broken = {CollectorName.CLOSE_WAIT, CollectorName.DESCRIPTORS}
    seen = host.observer(frozenset({CollectorName.STATES})).observe()
    assert set(seen.seconds) == {
        CollectorName.STATES,
        CollectorName.LISTENERS,
        CollectorName.OWNERS,
        CollectorName.LIMITS,
    }
    assert (seen.stuck, seen.descriptors, seen.ports_on_one_address) == (None, {}, None)
    assert sum(groups(seen).values()) == 3


@pytest.mark.parametrize("part", sorted(READ - {CollectorName.EPHEMERAL}))
def test_a_failure_is_logged_once_and_so_is_its_end(
    part: str, observer: Observer, host: Host, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    host.broken = {part}
    observer.observe()
    observer.observe()
    host.broken = set()
    observer.observe()
    observer.observe()
    logged = [record.message for record in caplog.records if getattr(record, "collector", part) == part]
    assert logged == ["Collector failed", "Collector works again"]


@pytest.mark.parametrize("part", sorted(READ - {CollectorName.EPHEMERAL}))
def test_after_a_failure_everything_is_as_before(part: str, observer: Observer, host: Host) -> None:
    host.rows = [*host.rows, call(40_000)]
    host.broken = {part}
    observer.observe()
    host.broken = set()
    host.stale = {Unowned.NOT_FOUND}
    seen = observer.observe()
    fresh = Host()
    fresh.rows = host.rows
    assert groups(seen) == groups(fresh.observer().observe())
    assert seen.failed == frozenset()


@pytest.mark.parametrize(("many", "times"), [(0, 1), (1_000, 0)])
def test_memory_is_given_back_only_after_a_look_at_many(
    host: Host, many: int, times: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    given_back: list[None] = []
    monkeypatch.setattr(observer_module, "give_back_pages", lambda: given_back.append(None))
    monkeypatch.setattr(observer_module, "_MANY", many)
    host.observer().observe()
    assert len(given_back) == times


def test_snapshot_names_its_source_and_unknown_owners(observer: Observer) -> None:
    seen = observer.observe()
    assert seen.source == "host"
    assert (seen.process_name(PRINTD), seen.process_name(Unowned.NOT_FOUND)) == ("printd", "unknown")
