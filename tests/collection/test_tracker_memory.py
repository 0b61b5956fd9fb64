"""What one look teaches the next: whose a TIME_WAIT is, which ports are ephemeral, when to count them."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from exporter.collection.tracker import PORT_COUNT_INTERVAL, SocketTracker
from exporter.model.groups import Attribution
from exporter.model.host import EphemeralRange
from exporter.model.process import Owner, Unowned
from exporter.model.snapshot import Snapshot
from exporter.model.sockets import CLOSE, CLOSE_WAIT, ESTABLISHED, TIME_WAIT, Listener, Socket
from exporter.tracking import counter

from .host import CALLER, HERE, LISTENER, OTHER_CALLER, PRINTD, THERE, Host, call, groups

Said = Counter[tuple[Owner, Attribution]]


@pytest.fixture(params=["kernel", "psutil"])
def host(request: pytest.FixtureRequest) -> Host:
    return Host(kernel=request.param == "kernel")


@pytest.fixture
def tracker(host: Host) -> SocketTracker:
    return host.tracker()


def time_wait(seen: Snapshot) -> Said:
    """What is said of the sockets in TIME_WAIT."""
    said: Said = Counter()
    for group, count in groups(seen).items():
        if group.attribution:
            said[group.owner, group.attribution] += count
    return said


def test_time_wait_is_inferred_from_the_process_still_connected(tracker: SocketTracker, host: Host) -> None:
    host.rows = [call(40_000, TIME_WAIT), call(40_001), call(40_002, TIME_WAIT)]
    assert time_wait(tracker.snapshot()) == {(CALLER, Attribution.INFERRED): 2}


def test_time_wait_has_no_owner_with_two_processes_connected(tracker: SocketTracker, host: Host) -> None:
    host.rows = [call(40_000, TIME_WAIT), call(40_001), call(40_002, owner_key=21)]
    assert time_wait(tracker.snapshot()) == {(Unowned.RELEASED, Attribution.NONE): 1}


def test_unattributed_time_wait_is_inferred_after_a_process_connects(
    tracker: SocketTracker, host: Host
) -> None:
    host.rows = [call(40_000, TIME_WAIT)]
    nobody = {(Unowned.RELEASED, Attribution.NONE): 1}
    assert time_wait(tracker.snapshot()) == nobody
    host.rows.append(call(40_001))
    assert time_wait(tracker.snapshot()) == nobody
    assert time_wait(tracker.snapshot()) == {(CALLER, Attribution.INFERRED): 1}


def test_inferred_owner_stays_when_another_process_connects(tracker: SocketTracker, host: Host) -> None:
    host.rows = [call(40_000, TIME_WAIT), call(40_001)]
    tracker.snapshot()
    host.rows += [call(40_002, owner_key=21), call(40_003, TIME_WAIT)]
    assert time_wait(tracker.snapshot()) == {
        (CALLER, Attribution.INFERRED): 1,
        (Unowned.RELEASED, Attribution.NONE): 1,
    }


def test_time_wait_keeps_the_observed_owner_if_the_source_has_cookies(
    tracker: SocketTracker, host: Host
) -> None:
    host.rows = [call(40_000), call(40_001, owner_key=21)]
    tracker.snapshot()
    host.rows = [call(40_000, TIME_WAIT), call(40_001, TIME_WAIT)]
    assert time_wait(tracker.snapshot()) == (
        {(CALLER, Attribution.OBSERVED): 1, (OTHER_CALLER, Attribution.OBSERVED): 1}
        if host.kernel
        else {(Unowned.RELEASED, Attribution.NONE): 2}
    )


def test_name_of_an_exited_client_is_kept_for_its_time_wait(tracker: SocketTracker, host: Host) -> None:
    host.rows = [call(40_000, TIME_WAIT), call(40_001)]
    tracker.snapshot()
    host.stale, host.rows = {CALLER}, [call(40_000, TIME_WAIT)]
    seen = tracker.snapshot()
    assert time_wait(seen) == {(CALLER, Attribution.INFERRED): 1}
    assert seen.names[CALLER] == "caller"
    assert CALLER in host.kept


def test_recent_client_is_retained_for_later_time_wait(
    tracker: SocketTracker, host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tally drops at once what is gone."""
    monkeypatch.setattr(counter, "_MIN_EMPTY_GROUPS", -1)
    host.rows = [call(40_000)]
    tracker.snapshot()
    host.stale, host.rows = {CALLER}, [call(40_001, owner_key=21)._replace(remote_port=80)]
    for _ in range(3):
        tracker.snapshot()
    assert CALLER in host.kept
    host.rows.append(call(40_002, TIME_WAIT))
    assert time_wait(tracker.snapshot()) == {(CALLER, Attribution.INFERRED): 1}


def test_whoever_talks_is_told_by_name_so_that_workers_are_one(tracker: SocketTracker, host: Host) -> None:
    worker = CALLER._replace(pid=99)
    host.owner_keys[21] = worker
    host.process = lambda owner: replace(Host.process(host, CALLER), pid=owner.pid)  # type: ignore[method-assign]
    host.rows = [call(40_000, TIME_WAIT), call(40_001), call(40_002, owner_key=21)]
    ((_, method),) = time_wait(tracker.snapshot())
    assert method is Attribution.INFERRED


def test_a_failure_while_time_wait_is_in_doubt_forgets_no_explanation(
    tracker: SocketTracker, host: Host
) -> None:
    host.rows = [call(40_000, TIME_WAIT), call(40_001, owner_key=99)]
    tracker.snapshot()
    host.owner_keys[99], host.stale = CALLER, {Unowned.NOT_FOUND}
    tracker.snapshot()
    assert time_wait(tracker.snapshot()) == {(CALLER, Attribution.INFERRED): 1}


def ephemeral(seen: Snapshot) -> Counter[bool]:
    found: Counter[bool] = Counter()
    for group, count in groups(seen).items():
        if group.addresses:
            found[group.addresses.ephemeral] += count
    return found


def test_another_range_makes_other_ports_ephemeral(tracker: SocketTracker, host: Host) -> None:
    host.rows = [call(port) for port in (40_000, 40_001, 50_001)]
    assert ephemeral(tracker.snapshot()) == {True: 2, False: 1}
    host.limits = replace(host.limits, ephemeral=EphemeralRange(50_000, 59_999))
    assert ephemeral(tracker.snapshot()) == {True: 1, False: 2}


def test_without_a_range_no_port_is_ephemeral(tracker: SocketTracker, host: Host) -> None:
    host.limits = replace(host.limits, ephemeral=None)
    host.rows = [call(40_000)]
    seen = tracker.snapshot()
    assert (ephemeral(seen), seen.max_bound_ports) == ({False: 1}, None)


def bound(port: int, address: bytes = HERE) -> Socket:
    return Socket(CLOSE, address, port, bytes(4), 0, 6, port)


def test_the_ports_on_the_fullest_address_are_counted(tracker: SocketTracker, host: Host) -> None:
    host.rows = [call(40_000), call(40_001), call(40_001, TIME_WAIT), bound(40_003), bound(40_004, THERE)]
    host.listening = [Listener(bytes(16), 40_005, 5, 0, 1), Listener(HERE, 39_999, 5, 0, 1)]
    assert tracker.snapshot().max_bound_ports == 4


def test_they_are_counted_down_when_the_last_socket_goes(tracker: SocketTracker, host: Host) -> None:
    host.full_sockets = lambda: iter([])  # type: ignore[method-assign]
    host.listening = []
    assert tracker.snapshot().max_bound_ports == 0


def test_a_dear_count_is_not_repeated_at_once(tracker: SocketTracker, host: Host) -> None:
    """The clock goes on by a second each time it is asked: the reading takes one."""
    host.rows = [call(40_000)]
    assert tracker.snapshot().max_bound_ports == 1
    host.rows.append(call(40_001))
    assert tracker.snapshot().max_bound_ports == 1
    for _ in range(int(PORT_COUNT_INTERVAL)):
        host.seconds()
    assert tracker.snapshot().max_bound_ports == 2


def test_a_connection_that_goes_on_to_close_wait_stays_with_its_direction(
    tracker: SocketTracker, host: Host
) -> None:
    host.rows = [Socket(ESTABLISHED, HERE, 631, HERE, 50_000, 6, 1)]
    tracker.snapshot()
    host.rows = [Socket(CLOSE_WAIT, HERE, 631, HERE, 50_000, 6, 1)]
    (stuck,) = tracker.snapshot().close_wait or ()
    assert (stuck.group.owner, stuck.group.port, stuck.age) == (PRINTD, 631, 30.0)
    assert OTHER_CALLER not in host.kept


def test_new_sockets_make_doubtful_who_held_their_inode_before(tracker: SocketTracker, host: Host) -> None:
    tracker.snapshot()
    other = Listener(HERE, 8080, 7, 0, 128)
    host.rows = [*host.rows, call(40_000)]
    host.listening = [LISTENER, other]
    tracker.snapshot()
    assert host.doubted == {20, 7}
    tracker.snapshot()
    assert host.doubted == set()


def test_a_socket_that_changes_its_state_is_no_new_one() -> None:
    host = Host()
    tracker = host.tracker()
    host.rows = [*host.rows, call(40_000)]
    tracker.snapshot()
    host.rows = [*host.rows[:-1], call(40_000, CLOSE_WAIT)]
    tracker.snapshot()
    assert host.doubted == set()
