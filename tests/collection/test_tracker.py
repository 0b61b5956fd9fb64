"""One look at the host, when all goes well and when a part fails."""

from __future__ import annotations

import errno
import gc
import logging
from dataclasses import replace

import pytest

from exporter.collection import tracker as tracker_module
from exporter.collection.tracker import SocketTracker
from exporter.model.close_wait import Cause, ClassifiedCloseWait
from exporter.model.collectors import CollectorName
from exporter.model.groups import Direction, SocketGroup
from exporter.model.host import FdUsage
from exporter.model.process import ProcessId, Unowned
from exporter.model.sockets import CLOSE_WAIT, ESTABLISHED, LISTEN, Listener

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
def tracker(host: Host) -> SocketTracker:
    return host.tracker()


def test_all_sockets_are_counted_with_their_owners(tracker: SocketTracker) -> None:
    seen = tracker.snapshot()
    assert groups(seen) == {
        SocketGroup(CLOSE_WAIT, PRINTD, Direction.INBOUND, 631): 1,
        SocketGroup(ESTABLISHED, PRINTD, Direction.INBOUND, 631): 1,
        SocketGroup(LISTEN, PRINTD, Direction.NONE, 631): 1,
    }
    assert seen.names == {PRINTD: "printd"}
    assert seen.failed == frozenset()
    assert set(seen.durations) == READ


def test_limits_counters_and_fd_usage_are_read(tracker: SocketTracker, host: Host) -> None:
    seen = tracker.snapshot()
    assert (seen.limits, seen.counters) == (host.limits, host.counters)
    assert seen.fd_usage == {PRINTD: FdUsage(50, 64)}
    assert seen.max_bound_ports == 0
    assert seen.queues == {}


def test_close_wait_has_the_group_it_is_counted_in(tracker: SocketTracker, host: Host) -> None:
    (half,) = host.close_wait_sockets()
    group = SocketGroup(CLOSE_WAIT, PRINTD, Direction.INBOUND, 631)
    assert tracker.snapshot().close_wait == [ClassifiedCloseWait(half, group, Cause.NOT_READ, 30.0)]


def test_close_wait_keeps_its_direction_after_its_listener_closed(host: Host) -> None:
    tracker = host.tracker()
    tracker.snapshot()
    host.listening = []
    for _ in range(200):
        host.seconds()
    assert [stuck.group.direction for stuck in tracker.snapshot().close_wait or ()] == [Direction.INBOUND]


def test_garbage_collector_is_disabled_during_a_collection(tracker: SocketTracker, host: Host) -> None:
    enabled: list[bool] = []

    def listeners() -> list[Listener]:
        enabled.append(gc.isenabled())
        return []

    host.listeners = listeners
    tracker.snapshot()
    assert enabled == [False]
    assert gc.isenabled()


def test_second_collection_resolves_only_listeners_and_close_wait(tracker: SocketTracker, host: Host) -> None:
    tracker.snapshot()
    tracker.snapshot()
    assert host.asked_for == [{0, 5, 6}, {5, 6}]


def test_resolver_gets_the_owner_keys_of_all_sockets(tracker: SocketTracker, host: Host) -> None:
    for _ in range(2):
        tracker.snapshot()
        assert host.live == {0, 5, 6}


def test_stale_owners_are_resolved_again(tracker: SocketTracker, host: Host) -> None:
    tracker.snapshot()
    host.stale = {PRINTD}
    host.owner_keys[6] = other = ProcessId(20, 2.0)
    assert SocketGroup(CLOSE_WAIT, other, Direction.INBOUND, 631) in groups(tracker.snapshot())


def test_no_counts_if_reading_sockets_fails(tracker: SocketTracker, host: Host) -> None:
    host.broken = {CollectorName.STATES}
    seen = tracker.snapshot()
    assert (seen.groups, seen.queues, seen.failed) == (None, None, frozenset({CollectorName.STATES}))
    assert seen.listeners == [(LISTENER, PRINTD)]


def test_sockets_are_counted_if_reading_listeners_fails(tracker: SocketTracker, host: Host) -> None:
    host.broken = {CollectorName.LISTENERS}
    seen = tracker.snapshot()
    assert (seen.listeners, seen.failed) == (None, frozenset({CollectorName.LISTENERS}))
    assert sum(groups(seen).values()) == 2


def test_all_sockets_are_counted_if_resolving_owners_fails(tracker: SocketTracker, host: Host) -> None:
    host.broken = {CollectorName.OWNERS}
    seen = tracker.snapshot()
    assert (sum(groups(seen).values()), seen.unresolved_reason) == (3, "unreadable")
    assert seen.failed == frozenset({CollectorName.OWNERS})
    assert [stuck.group.owner for stuck in seen.close_wait or ()] == [Unowned.NOT_FOUND]


def test_sockets_are_counted_if_reading_close_wait_fails(tracker: SocketTracker, host: Host) -> None:
    host.broken = {CollectorName.CLOSE_WAIT}
    seen = tracker.snapshot()
    assert (seen.close_wait, seen.failed) == (None, frozenset({CollectorName.CLOSE_WAIT}))
    assert sum(groups(seen).values()) == 3


def test_sockets_are_counted_if_reading_limits_fails(tracker: SocketTracker, host: Host) -> None:
    host.broken = {CollectorName.LIMITS}
    seen = tracker.snapshot()
    assert (seen.limits, seen.counters, seen.failed) == (None, None, frozenset({CollectorName.LIMITS}))
    assert sum(groups(seen).values()) == 3


def test_valid_limits_are_kept_if_one_is_invalid(tracker: SocketTracker, host: Host) -> None:
    host.limits = replace(host.limits, time_wait_reuse=None, errors=("tcp_tw_reuse: nonsense",))
    seen = tracker.snapshot()
    assert (seen.limits, seen.failed) == (host.limits, frozenset({CollectorName.LIMITS}))
    assert seen.counters == host.counters


def test_fd_usage_of_exited_processes_is_not_read(tracker: SocketTracker, host: Host) -> None:
    host.dead = {PRINTD}
    assert tracker.snapshot().fd_usage == {}


def test_process_without_readable_fd_usage_is_absent(tracker: SocketTracker, host: Host) -> None:
    host.descriptors = {}
    seen = tracker.snapshot()
    assert (seen.fd_usage, seen.failed) == ({}, frozenset())


@pytest.mark.parametrize("error", [errno.EIO, errno.EMFILE], ids=errno.errorcode.__getitem__)
def test_failed_fd_usage_does_not_hide_other_processes(
    tracker: SocketTracker, host: Host, error: int
) -> None:
    host.rows = [*host.rows, call(40_000)]
    host.faulty = {10: error}
    seen = tracker.snapshot()
    assert seen.fd_usage == {CALLER: FdUsage(7, None)}
    assert seen.failed == frozenset({CollectorName.DESCRIPTORS})


def test_disabled_collectors_do_not_run(host: Host) -> None:
    host.broken = {CollectorName.CLOSE_WAIT, CollectorName.DESCRIPTORS}
    seen = host.tracker(frozenset({CollectorName.STATES})).snapshot()
    assert set(seen.durations) == {
        CollectorName.STATES,
        CollectorName.LISTENERS,
        CollectorName.OWNERS,
        CollectorName.LIMITS,
    }
    assert (seen.close_wait, seen.fd_usage, seen.max_bound_ports) == (None, {}, None)
    assert sum(groups(seen).values()) == 3


@pytest.mark.parametrize("part", sorted(READ - {CollectorName.EPHEMERAL}))
def test_failure_and_recovery_are_logged_once(
    part: str, tracker: SocketTracker, host: Host, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    host.broken = {part}
    tracker.snapshot()
    tracker.snapshot()
    host.broken = set()
    tracker.snapshot()
    tracker.snapshot()
    logged = [record.message for record in caplog.records if getattr(record, "collector", part) == part]
    assert logged == ["Collector failed", "Collector recovered"]


@pytest.mark.parametrize("part", sorted(READ - {CollectorName.EPHEMERAL}))
def test_counts_are_complete_after_a_failure(part: str, tracker: SocketTracker, host: Host) -> None:
    host.rows = [*host.rows, call(40_000)]
    host.broken = {part}
    tracker.snapshot()
    host.broken = set()
    host.stale = {Unowned.NOT_FOUND}
    seen = tracker.snapshot()
    fresh = Host()
    fresh.rows = host.rows
    assert groups(seen) == groups(fresh.tracker().snapshot())
    assert seen.failed == frozenset()


@pytest.mark.parametrize(("many", "times"), [(0, 1), (1_000, 0)])
def test_heap_is_trimmed_after_collections_of_many_sockets(
    host: Host, many: int, times: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    trimmed: list[None] = []
    monkeypatch.setattr(tracker_module, "trim_heap", lambda: trimmed.append(None))
    monkeypatch.setattr(tracker_module, "_TRIM_HEAP_ABOVE_SOCKETS", many)
    host.tracker().snapshot()
    assert len(trimmed) == times


def test_snapshot_names_its_source_and_unknown_owners(tracker: SocketTracker) -> None:
    seen = tracker.snapshot()
    assert seen.source == "host"
    assert (seen.process_name(PRINTD), seen.process_name(Unowned.NOT_FOUND)) == ("printd", "unknown")
