"""One collection of the tracker, complete or with a failed collector."""

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

from .host import CLIENT, LISTENER, PRINTD, Host, groups, outbound

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
"""The collectors for which data is read or counted."""


@pytest.fixture
def host() -> Host:
    return Host()


@pytest.fixture
def tracker(host: Host) -> SocketTracker:
    return host.tracker()


def test_all_sockets_are_counted_with_their_owners(tracker: SocketTracker) -> None:
    snapshot = tracker.snapshot()
    assert groups(snapshot) == {
        SocketGroup(CLOSE_WAIT, PRINTD, Direction.INBOUND, 631): 1,
        SocketGroup(ESTABLISHED, PRINTD, Direction.INBOUND, 631): 1,
        SocketGroup(LISTEN, PRINTD, Direction.NONE, 631): 1,
    }
    assert snapshot.names == {PRINTD: "printd"}
    assert snapshot.failed == frozenset()
    assert set(snapshot.durations) == READ


def test_limits_counters_and_fd_usage_are_read(tracker: SocketTracker, host: Host) -> None:
    snapshot = tracker.snapshot()
    assert (snapshot.limits, snapshot.counters) == (host.limits, host.counters)
    assert snapshot.fd_usage == {PRINTD: FdUsage(50, 64)}
    assert snapshot.max_bound_ports == 0
    assert snapshot.queue_bytes == {}


def test_workers_are_those_of_processes_with_waiting_connections(host: Host) -> None:
    host.workers = {10: [11, 12], 20: [22]}
    assert host.tracker().snapshot().workers == {}
    host.listening = [LISTENER._replace(queue_length=1)]
    assert host.tracker().snapshot().workers == {PRINTD: [11, 12]}


def test_services_of_owners_are_in_the_snapshot(tracker: SocketTracker, host: Host) -> None:
    assert tracker.snapshot().services == {}
    host.services[PRINTD] = ("Spooler",)
    assert tracker.snapshot().services == {PRINTD: ("Spooler",)}


def test_snapshot_says_whether_the_source_lists_bound_sockets(tracker: SocketTracker, host: Host) -> None:
    assert tracker.snapshot().has_bound_sockets
    host.has_bound_sockets = False
    assert not tracker.snapshot().has_bound_sockets


def test_unreadable_workers_fail_nothing(host: Host) -> None:
    host.listening = [LISTENER._replace(queue_length=1)]
    host.workers = {}
    snapshot = host.tracker().snapshot()
    assert (snapshot.workers, snapshot.failed) == ({}, frozenset())


def test_close_wait_has_the_group_it_is_counted_in(tracker: SocketTracker, host: Host) -> None:
    (socket,) = host.close_wait_sockets()
    group = SocketGroup(CLOSE_WAIT, PRINTD, Direction.INBOUND, 631)
    assert tracker.snapshot().close_wait == [ClassifiedCloseWait(socket, group, Cause.NOT_READ, 30.0)]


def test_close_wait_stays_inbound_after_its_listener_closed(host: Host) -> None:
    tracker = host.tracker()
    tracker.snapshot()
    host.listening = []
    for _ in range(200):
        host.seconds()
    assert [close_wait.group.direction for close_wait in tracker.snapshot().close_wait or ()] == [
        Direction.INBOUND
    ]


def test_garbage_collector_is_disabled_during_a_collection(tracker: SocketTracker, host: Host) -> None:
    enabled: list[bool] = []

    def listeners() -> list[Listener]:
        enabled.append(gc.isenabled())
        return []

    host.listeners = listeners
    tracker.snapshot()
    assert enabled == [False]
    assert gc.isenabled()


def test_second_collection_resolves_listeners_and_close_wait(tracker: SocketTracker, host: Host) -> None:
    tracker.snapshot()
    tracker.snapshot()
    assert host.resolved == [{0, 5, 6}, {5, 6}]


def test_resolver_gets_the_owner_keys_of_all_sockets(tracker: SocketTracker, host: Host) -> None:
    for _ in range(2):
        tracker.snapshot()
        assert host.live == {0, 5, 6}


def test_stale_owners_are_resolved_again(tracker: SocketTracker, host: Host) -> None:
    tracker.snapshot()
    host.stale = {PRINTD}
    host.owner_keys[6] = other = ProcessId(20, 2.0)
    assert SocketGroup(CLOSE_WAIT, other, Direction.INBOUND, 631) in groups(tracker.snapshot())


def test_transferred_socket_is_resolved_again(tracker: SocketTracker, host: Host) -> None:
    tracker.snapshot()
    host.transferred = {6: PRINTD}
    host.owner_keys[6] = CLIENT
    found = groups(tracker.snapshot())
    assert SocketGroup(CLOSE_WAIT, CLIENT, Direction.INBOUND, 631) in found
    # The connection that waits in the accept queue of the listener.
    assert SocketGroup(ESTABLISHED, PRINTD, Direction.INBOUND, 631) in found


def test_connections_in_its_queue_follow_a_transferred_listener(tracker: SocketTracker, host: Host) -> None:
    tracker.snapshot()
    host.transferred = {5: PRINTD}
    host.owner_keys[5] = CLIENT
    assert SocketGroup(ESTABLISHED, CLIENT, Direction.INBOUND, 631) in groups(tracker.snapshot())


def test_no_counts_if_reading_sockets_fails(tracker: SocketTracker, host: Host) -> None:
    host.failing = {CollectorName.STATES}
    snapshot = tracker.snapshot()
    assert (snapshot.groups, snapshot.queue_bytes, snapshot.failed) == (
        None,
        None,
        frozenset({CollectorName.STATES}),
    )
    assert snapshot.listeners == [(LISTENER, PRINTD)]


def test_sockets_are_counted_if_reading_listeners_fails(tracker: SocketTracker, host: Host) -> None:
    host.failing = {CollectorName.LISTENERS}
    snapshot = tracker.snapshot()
    assert (snapshot.listeners, snapshot.failed) == (None, frozenset({CollectorName.LISTENERS}))
    assert sum(groups(snapshot).values()) == 2


def test_all_sockets_are_counted_if_resolving_owners_fails(tracker: SocketTracker, host: Host) -> None:
    host.failing = {CollectorName.OWNERS}
    snapshot = tracker.snapshot()
    assert (sum(groups(snapshot).values()), snapshot.unresolved_reason) == (3, "unreadable")
    assert snapshot.failed == frozenset({CollectorName.OWNERS})
    assert [close_wait.group.owner for close_wait in snapshot.close_wait or ()] == [Unowned.NOT_FOUND]


def test_sockets_are_counted_if_reading_close_wait_fails(tracker: SocketTracker, host: Host) -> None:
    host.failing = {CollectorName.CLOSE_WAIT}
    snapshot = tracker.snapshot()
    assert (snapshot.close_wait, snapshot.failed) == (None, frozenset({CollectorName.CLOSE_WAIT}))
    assert sum(groups(snapshot).values()) == 3


def test_sockets_are_counted_if_reading_limits_fails(tracker: SocketTracker, host: Host) -> None:
    host.failing = {CollectorName.LIMITS}
    snapshot = tracker.snapshot()
    assert (snapshot.limits, snapshot.counters, snapshot.failed) == (
        None,
        host.counters,
        frozenset({CollectorName.LIMITS}),
    )
    assert sum(groups(snapshot).values()) == 3


def test_two_failures_of_one_collector_are_logged_once(
    tracker: SocketTracker, host: Host, caplog: pytest.LogCaptureFixture
) -> None:
    host.failing = {CollectorName.LIMITS}
    host.counters = replace(host.counters, errors=("netstat: nonsense",))
    for _ in range(3):
        assert tracker.snapshot().failed == frozenset({CollectorName.LIMITS})
    assert [record.message for record in caplog.records] == ["Collector failed"]


def test_valid_limits_are_kept_if_one_is_invalid(tracker: SocketTracker, host: Host) -> None:
    host.limits = replace(host.limits, time_wait_reuse=None, errors=("tcp_tw_reuse: nonsense",))
    snapshot = tracker.snapshot()
    assert (snapshot.limits, snapshot.failed) == (host.limits, frozenset({CollectorName.LIMITS}))
    assert snapshot.counters == host.counters


def test_fd_usage_of_exited_processes_is_not_read(tracker: SocketTracker, host: Host) -> None:
    host.dead = {PRINTD}
    assert tracker.snapshot().fd_usage == {}


def test_process_without_readable_fd_usage_is_absent(tracker: SocketTracker, host: Host) -> None:
    host.descriptors = {}
    snapshot = tracker.snapshot()
    assert (snapshot.fd_usage, snapshot.failed) == ({}, frozenset())


@pytest.mark.parametrize("error", [errno.EIO, errno.EMFILE], ids=errno.errorcode.__getitem__)
def test_failed_fd_usage_does_not_hide_other_processes(
    tracker: SocketTracker, host: Host, error: int
) -> None:
    host.rows = [*host.rows, outbound(40_000)]
    host.fd_errors = {10: error}
    snapshot = tracker.snapshot()
    assert snapshot.fd_usage == {CLIENT: FdUsage(7, None)}
    assert snapshot.failed == frozenset({CollectorName.DESCRIPTORS})


def test_disabled_collectors_do_not_run(host: Host) -> None:
    host.failing = {CollectorName.CLOSE_WAIT, CollectorName.DESCRIPTORS}
    snapshot = host.tracker(frozenset({CollectorName.STATES})).snapshot()
    assert set(snapshot.durations) == {
        CollectorName.STATES,
        CollectorName.LISTENERS,
        CollectorName.OWNERS,
        CollectorName.LIMITS,
    }
    assert (snapshot.close_wait, snapshot.fd_usage, snapshot.max_bound_ports) == (None, {}, None)
    assert sum(groups(snapshot).values()) == 3


@pytest.mark.parametrize("failing_collector", sorted(READ - {CollectorName.EPHEMERAL}))
def test_failure_and_recovery_are_logged_once(
    failing_collector: str, tracker: SocketTracker, host: Host, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    host.failing = {failing_collector}
    tracker.snapshot()
    tracker.snapshot()
    host.failing = set()
    tracker.snapshot()
    tracker.snapshot()
    logged = [
        record.message
        for record in caplog.records
        if getattr(record, "collector", failing_collector) == failing_collector
    ]
    assert logged == ["Collector failed", "Collector recovered"]


@pytest.mark.parametrize("failing_collector", sorted(READ - {CollectorName.EPHEMERAL}))
def test_counts_are_complete_after_a_failure(
    failing_collector: str, tracker: SocketTracker, host: Host
) -> None:
    host.rows = [*host.rows, outbound(40_000)]
    host.failing = {failing_collector}
    tracker.snapshot()
    host.failing = set()
    host.stale = {Unowned.NOT_FOUND}
    snapshot = tracker.snapshot()
    other_host = Host()
    other_host.rows = host.rows
    assert groups(snapshot) == groups(other_host.tracker().snapshot())
    assert snapshot.failed == frozenset()


@pytest.mark.parametrize(("threshold", "times"), [(0, 1), (1_000, 0)])
def test_heap_is_trimmed_after_collections_of_many_sockets(
    host: Host, threshold: int, times: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    trimmed: list[None] = []
    monkeypatch.setattr(tracker_module, "trim_heap", lambda: trimmed.append(None))
    monkeypatch.setattr(tracker_module, "_TRIM_HEAP_ABOVE_SOCKETS", threshold)
    host.tracker().snapshot()
    assert len(trimmed) == times


def test_snapshot_names_its_source_and_unknown_owners(tracker: SocketTracker) -> None:
    snapshot = tracker.snapshot()
    assert snapshot.source == "host"
    assert (snapshot.process_name(PRINTD), snapshot.process_name(Unowned.NOT_FOUND)) == ("printd", "unknown")
