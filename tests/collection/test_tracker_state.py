"""State kept between collections: owners of TIME_WAIT, the ephemeral range, the time of the port count."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from exporter.collection.tracker import SocketTracker
from exporter.model.collectors import CollectorName
from exporter.model.groups import Attribution, Direction
from exporter.model.host import EphemeralRange
from exporter.model.process import Owner, Unowned
from exporter.model.snapshot import Snapshot
from exporter.model.sockets import CLOSE, CLOSE_WAIT, ESTABLISHED, TIME_WAIT, Listener, Socket
from exporter.tracking import counter

from .host import CLIENT, HERE, LISTENER, OTHER_CLIENT, PRINTD, THERE, Host, groups, outbound

Attributions = Counter[tuple[Owner, Attribution]]


@pytest.fixture(params=["kernel", "psutil"])
def host(request: pytest.FixtureRequest) -> Host:
    return Host(kernel=request.param == "kernel")


@pytest.fixture
def tracker(host: Host) -> SocketTracker:
    return host.tracker()


def time_wait(snapshot: Snapshot) -> Attributions:
    """Return the owners and attribution methods of the sockets in TIME_WAIT."""
    attributions: Attributions = Counter()
    for group, count in groups(snapshot).items():
        if group.attribution:
            attributions[group.owner, group.attribution] += count
    return attributions


UNATTRIBUTED = Unowned.RELEASED, Attribution.NONE
BUSY = [outbound(40_001), outbound(40_002), outbound(40_000, TIME_WAIT), outbound(40_003, TIME_WAIT)]
"""The client keeps a connection, opens one, and two others have come and gone since."""


def test_time_wait_is_inferred_from_the_process_that_opens_connections(
    tracker: SocketTracker, host: Host
) -> None:
    host.rows = [outbound(40_001)]
    tracker.snapshot()
    host.rows = BUSY
    assert time_wait(tracker.snapshot()) == {(CLIENT, Attribution.INFERRED): 2}
    assert time_wait(tracker.snapshot()) == {(CLIENT, Attribution.INFERRED): 2}


def test_first_collection_infers_no_owner(tracker: SocketTracker, host: Host) -> None:
    host.rows = BUSY
    assert time_wait(tracker.snapshot()) == {UNATTRIBUTED: 2}
    assert time_wait(tracker.snapshot()) == {UNATTRIBUTED: 2}


def test_idle_connection_gets_no_time_wait_of_others(tracker: SocketTracker, host: Host) -> None:
    host.rows = [outbound(40_001)]
    tracker.snapshot()
    host.rows = [outbound(40_001), *(outbound(port, TIME_WAIT) for port in range(41_000, 41_300))]
    assert time_wait(tracker.snapshot()) == {UNATTRIBUTED: 300}


@pytest.mark.parametrize("failed", [CollectorName.LISTENERS, CollectorName.OWNERS])
def test_idle_connection_is_not_new_after_a_failed_collector(
    failed: CollectorName, tracker: SocketTracker, host: Host
) -> None:
    host.rows = [outbound(40_001)]
    tracker.snapshot()
    host.failing = {failed}
    tracker.snapshot()
    host.failing = set()
    host.rows = [outbound(40_001), outbound(40_000, TIME_WAIT)]
    assert time_wait(tracker.snapshot()) == {UNATTRIBUTED: 1}


def test_time_wait_has_no_owner_with_two_processes_connected(tracker: SocketTracker, host: Host) -> None:
    host.rows = [outbound(40_001), outbound(40_009, owner_key=21)]
    tracker.snapshot()
    host.rows = [*BUSY, outbound(40_009, owner_key=21)]
    assert time_wait(tracker.snapshot()) == {UNATTRIBUTED: 2}


def test_time_wait_is_not_that_of_a_process_that_connects_later(tracker: SocketTracker, host: Host) -> None:
    host.rows = [outbound(40_000, TIME_WAIT)]
    assert time_wait(tracker.snapshot()) == {UNATTRIBUTED: 1}
    for port in (40_001, 40_002, 40_003):
        host.rows.append(outbound(port))
        assert time_wait(tracker.snapshot()) == {UNATTRIBUTED: 1}


def test_inferred_owner_stays_when_another_process_connects(tracker: SocketTracker, host: Host) -> None:
    host.rows = [outbound(40_001)]
    tracker.snapshot()
    host.rows = BUSY
    tracker.snapshot()
    host.rows = [*BUSY, outbound(40_004, owner_key=21), outbound(40_005), outbound(40_006, TIME_WAIT)]
    assert time_wait(tracker.snapshot()) == {(CLIENT, Attribution.INFERRED): 2, UNATTRIBUTED: 1}


def test_time_wait_keeps_the_observed_owner_with_cookies(tracker: SocketTracker, host: Host) -> None:
    host.rows = [outbound(40_000), outbound(40_001, owner_key=21)]
    tracker.snapshot()
    host.rows = [outbound(40_000, TIME_WAIT), outbound(40_001, TIME_WAIT)]
    assert time_wait(tracker.snapshot()) == (
        {(CLIENT, Attribution.OBSERVED): 1, (OTHER_CLIENT, Attribution.OBSERVED): 1}
        if host.kernel
        else {(Unowned.RELEASED, Attribution.NONE): 2}
    )


def test_name_of_an_exited_client_is_kept_for_its_time_wait(tracker: SocketTracker, host: Host) -> None:
    host.rows = [outbound(40_001)]
    tracker.snapshot()
    host.rows = [outbound(40_000, TIME_WAIT), outbound(40_001), outbound(40_002)]
    tracker.snapshot()
    host.stale, host.rows = {CLIENT}, [outbound(40_000, TIME_WAIT)]
    snapshot = tracker.snapshot()
    assert time_wait(snapshot) == {(CLIENT, Attribution.INFERRED): 1}
    assert snapshot.names[CLIENT] == "client"
    assert CLIENT in host.retained


def test_recent_client_is_retained_but_no_evidence(
    tracker: SocketTracker, host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The counter drops empty groups immediately."""
    monkeypatch.setattr(counter, "_MIN_EMPTY_GROUPS", -1)
    host.rows = [outbound(40_000)]
    tracker.snapshot()
    host.stale, host.rows = {CLIENT}, [outbound(40_001, owner_key=21)._replace(remote_port=80)]
    for _ in range(3):
        tracker.snapshot()
    assert CLIENT in host.retained
    host.rows.append(outbound(40_002, TIME_WAIT))
    assert time_wait(tracker.snapshot()) == {UNATTRIBUTED: 1}


def test_workers_of_one_name_are_one_client_of_a_destination(tracker: SocketTracker, host: Host) -> None:
    worker = CLIENT._replace(pid=99)
    host.owner_keys[21] = worker
    host.process = lambda owner: replace(Host.process(host, CLIENT), pid=owner.pid)  # type: ignore[method-assign]
    host.rows = [outbound(40_001)]
    tracker.snapshot()
    host.rows = [outbound(40_000, TIME_WAIT), outbound(40_001), outbound(40_002, owner_key=21)]
    ((_, method),) = time_wait(tracker.snapshot())
    assert method is Attribution.INFERRED


def test_client_resolved_later_is_no_evidence(tracker: SocketTracker, host: Host) -> None:
    host.rows = [outbound(40_000, TIME_WAIT), outbound(40_001, owner_key=99)]
    tracker.snapshot()
    host.owner_keys[99], host.stale = CLIENT, {Unowned.NOT_FOUND}
    tracker.snapshot()
    assert time_wait(tracker.snapshot()) == {UNATTRIBUTED: 1}


def ephemeral(snapshot: Snapshot) -> Counter[bool]:
    counts: Counter[bool] = Counter()
    for group, count in groups(snapshot).items():
        if group.addresses:
            counts[group.addresses.ephemeral] += count
    return counts


def test_changed_range_changes_ephemeral_ports(tracker: SocketTracker, host: Host) -> None:
    host.rows = [outbound(port) for port in (40_000, 40_001, 50_001)]
    assert ephemeral(tracker.snapshot()) == {True: 2, False: 1}
    host.limits = replace(host.limits, ephemeral=EphemeralRange(50_000, 59_999))
    assert ephemeral(tracker.snapshot()) == {True: 1, False: 2}


def test_no_port_is_ephemeral_without_a_range(tracker: SocketTracker, host: Host) -> None:
    host.limits = replace(host.limits, ephemeral=None)
    host.rows = [outbound(40_000)]
    snapshot = tracker.snapshot()
    assert (ephemeral(snapshot), snapshot.max_bound_ports) == ({False: 1}, None)


def bound(port: int, address: bytes = HERE) -> Socket:
    return Socket(CLOSE, address, port, bytes(4), 0, 6, port)


def test_bound_ports_of_the_address_with_most_are_counted(tracker: SocketTracker, host: Host) -> None:
    host.rows = [
        outbound(40_000),
        outbound(40_001),
        outbound(40_001, TIME_WAIT),
        bound(40_003),
        bound(40_004, THERE),
    ]
    host.listening = [Listener(bytes(16), 40_005, 5, 0, 1), Listener(HERE, 39_999, 5, 0, 1)]
    assert tracker.snapshot().max_bound_ports == 4


def test_bound_ports_are_0_without_sockets(tracker: SocketTracker, host: Host) -> None:
    host.full_sockets = lambda: iter([])  # type: ignore[method-assign]
    host.listening = []
    assert tracker.snapshot().max_bound_ports == 0


def test_slow_port_count_is_repeated_after_60_seconds(tracker: SocketTracker, host: Host) -> None:
    """The clock of the host advances by a second at each reading, so that the count seems slow."""
    started = host.seconds()
    host.rows = [outbound(40_000)]
    assert tracker.snapshot().max_bound_ports == 1
    host.rows.append(outbound(40_001))
    assert tracker.snapshot().max_bound_ports == 1
    while host.seconds() < started + 50:
        pass
    assert tracker.snapshot().max_bound_ports == 1
    while host.seconds() < started + 70:
        pass
    assert tracker.snapshot().max_bound_ports == 2


def test_connection_in_close_wait_keeps_its_direction(tracker: SocketTracker, host: Host) -> None:
    host.rows = [Socket(ESTABLISHED, HERE, 631, HERE, 50_000, 6, 1)]
    tracker.snapshot()
    host.rows = [Socket(CLOSE_WAIT, HERE, 631, HERE, 50_000, 6, 1)]
    (close_wait,) = tracker.snapshot().close_wait or ()
    assert (close_wait.group.owner, close_wait.group.port, close_wait.age_seconds) == (PRINTD, 631, 30.0)
    assert OTHER_CLIENT not in host.retained


def test_owners_of_new_sockets_are_revalidated(tracker: SocketTracker, host: Host) -> None:
    tracker.snapshot()
    other = Listener(HERE, 8080, 7, 0, 128)
    host.rows = [*host.rows, outbound(40_000)]
    host.listening = [LISTENER, other]
    tracker.snapshot()
    assert host.revalidated == {20, 7}
    tracker.snapshot()
    assert host.revalidated == set()


def test_socket_with_a_changed_state_is_not_new() -> None:
    host = Host()
    tracker = host.tracker()
    host.rows = [*host.rows, outbound(40_000)]
    tracker.snapshot()
    host.rows = [*host.rows[:-1], outbound(40_000, CLOSE_WAIT)]
    tracker.snapshot()
    assert host.revalidated == set()


def test_listeners_that_could_not_be_read_are_not_closed(tracker: SocketTracker, host: Host) -> None:
    tracker.snapshot()
    host.failing = {CollectorName.LISTENERS}
    host.rows.append(Socket(ESTABLISHED, HERE, LISTENER.local_port, HERE, 50_009, 6, 9))
    snapshot = tracker.snapshot()
    assert {group.direction for group in snapshot.groups or ()} == {Direction.INBOUND}
