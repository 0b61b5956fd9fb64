"""What one look teaches the next: whose a TIME_WAIT is, which ports are ephemeral, when to count them."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from exporter.analysis import tally
from exporter.exposition.observation import Observation
from exporter.exposition.observer import CENSUS_EVERY, Observer
from exporter.model import (
    CLOSE,
    CLOSE_WAIT,
    ESTABLISHED,
    TIME_WAIT,
    Attribution,
    EphemeralRange,
    Listener,
    Owner,
    Socket,
    Unowned,
)

from .host import CALLER, HERE, LISTENER, OTHER_CALLER, PRINTD, THERE, Host, call, groups

Said = Counter[tuple[Owner, Attribution]]


@pytest.fixture(params=["kernel", "psutil"])
def host(request: pytest.FixtureRequest) -> Host:
    return Host(kernel=request.param == "kernel")


@pytest.fixture
def observer(host: Host) -> Observer:
    return host.observer()


def time_wait(seen: Observation) -> Said:
    """What is said of the sockets in TIME_WAIT."""
    said: Said = Counter()
    for group, count in groups(seen).items():
        if group.attribution:
            said[group.owner, group.attribution] += count
    return said


def test_time_wait_is_the_callers_that_still_talks_there(observer: Observer, host: Host) -> None:
    host.rows = [call(40_000, TIME_WAIT), call(40_001), call(40_002, TIME_WAIT)]
    assert time_wait(observer.observe()) == {(CALLER, Attribution.INFERRED): 2}


def test_time_wait_is_nobodys_where_two_talk(observer: Observer, host: Host) -> None:
    host.rows = [call(40_000, TIME_WAIT), call(40_001), call(40_002, holder=21)]
    assert time_wait(observer.observe()) == {(Unowned.RELEASED, Attribution.NONE): 1}


def test_time_wait_in_doubt_is_explained_when_somebody_talks_there_later(
    observer: Observer, host: Host
) -> None:
    host.rows = [call(40_000, TIME_WAIT)]
    nobody = {(Unowned.RELEASED, Attribution.NONE): 1}
    assert time_wait(observer.observe()) == nobody
    host.rows.append(call(40_001))
    assert time_wait(observer.observe()) == nobody
    assert time_wait(observer.observe()) == {(CALLER, Attribution.INFERRED): 1}


def test_what_was_inferred_stays_when_another_talks_there_later(observer: Observer, host: Host) -> None:
    host.rows = [call(40_000, TIME_WAIT), call(40_001)]
    observer.observe()
    host.rows += [call(40_002, holder=21), call(40_003, TIME_WAIT)]
    assert time_wait(observer.observe()) == {
        (CALLER, Attribution.INFERRED): 1,
        (Unowned.RELEASED, Attribution.NONE): 1,
    }


def test_time_wait_is_whose_the_connection_was_where_the_source_tells_it_is_the_same(
    observer: Observer, host: Host
) -> None:
    host.rows = [call(40_000), call(40_001, holder=21)]
    observer.observe()
    host.rows = [call(40_000, TIME_WAIT), call(40_001, TIME_WAIT)]
    assert time_wait(observer.observe()) == (
        {(CALLER, Attribution.OBSERVED): 1, (OTHER_CALLER, Attribution.OBSERVED): 1}
        if host.kernel
        else {(Unowned.RELEASED, Attribution.NONE): 2}
    )


def test_the_name_of_a_caller_that_died_is_kept_for_its_time_wait(observer: Observer, host: Host) -> None:
    host.rows = [call(40_000, TIME_WAIT), call(40_001)]
    observer.observe()
    host.stale, host.rows = {CALLER}, [call(40_000, TIME_WAIT)]
    seen = observer.observe()
    assert time_wait(seen) == {(CALLER, Attribution.INFERRED): 1}
    assert seen.names[CALLER] == "caller"
    assert CALLER in host.kept


def test_who_lately_talked_is_kept_for_the_time_wait_to_come(
    observer: Observer, host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tally drops at once what is gone."""
    monkeypatch.setattr(tally, "_SPARE_AT_LEAST", -1)
    host.rows = [call(40_000)]
    observer.observe()
    host.stale, host.rows = {CALLER}, [call(40_001, holder=21)._replace(remote_port=80)]
    for _ in range(3):
        observer.observe()
    assert CALLER in host.kept
    host.rows.append(call(40_002, TIME_WAIT))
    assert time_wait(observer.observe()) == {(CALLER, Attribution.INFERRED): 1}


def test_whoever_talks_is_told_by_name_so_that_workers_are_one(observer: Observer, host: Host) -> None:
    worker = CALLER._replace(pid=99)
    host.holders[21] = worker
    host.process = lambda owner: replace(Host.process(host, CALLER), pid=owner.pid)  # type: ignore[method-assign]
    host.rows = [call(40_000, TIME_WAIT), call(40_001), call(40_002, holder=21)]
    ((_, method),) = time_wait(observer.observe())
    assert method is Attribution.INFERRED


def test_a_failure_while_time_wait_is_in_doubt_forgets_no_explanation(observer: Observer, host: Host) -> None:
    host.rows = [call(40_000, TIME_WAIT), call(40_001, holder=99)]
    observer.observe()
    host.holders[99], host.stale = CALLER, {Unowned.NOT_FOUND}
    observer.observe()
    assert time_wait(observer.observe()) == {(CALLER, Attribution.INFERRED): 1}


def ephemeral(seen: Observation) -> Counter[bool]:
    found: Counter[bool] = Counter()
    for group, count in groups(seen).items():
        if group.path:
            found[group.path.ephemeral] += count
    return found


def test_another_range_makes_other_ports_ephemeral(observer: Observer, host: Host) -> None:
    host.rows = [call(port) for port in (40_000, 40_001, 50_001)]
    assert ephemeral(observer.observe()) == {True: 2, False: 1}
    host.limits = replace(host.limits, ephemeral=EphemeralRange(50_000, 59_999))
    assert ephemeral(observer.observe()) == {True: 1, False: 2}


def test_without_a_range_no_port_is_ephemeral(observer: Observer, host: Host) -> None:
    host.limits = replace(host.limits, ephemeral=None)
    host.rows = [call(40_000)]
    seen = observer.observe()
    assert (ephemeral(seen), seen.ports_on_one_address) == ({False: 1}, None)


def bound(port: int, address: bytes = HERE) -> Socket:
    return Socket(CLOSE, address, port, bytes(4), 0, 6, port)


def test_the_ports_on_the_fullest_address_are_counted(observer: Observer, host: Host) -> None:
    host.rows = [call(40_000), call(40_001), call(40_001, TIME_WAIT), bound(40_003), bound(40_004, THERE)]
    host.listening = [Listener(bytes(16), 40_005, 5, 0, 1), Listener(HERE, 39_999, 5, 0, 1)]
    assert observer.observe().ports_on_one_address == 4


def test_they_are_counted_down_when_the_last_socket_goes(observer: Observer, host: Host) -> None:
    host.sockets = lambda: iter([])  # type: ignore[method-assign]
    host.listening = []
    assert observer.observe().ports_on_one_address == 0


def test_a_dear_count_is_not_repeated_at_once(observer: Observer, host: Host) -> None:
    """The clock goes on by a second each time it is asked: the reading takes one."""
    host.rows = [call(40_000)]
    assert observer.observe().ports_on_one_address == 1
    host.rows.append(call(40_001))
    assert observer.observe().ports_on_one_address == 1
    for _ in range(int(CENSUS_EVERY)):
        host.seconds()
    assert observer.observe().ports_on_one_address == 2


def test_a_connection_that_goes_on_to_close_wait_stays_with_its_direction(
    observer: Observer, host: Host
) -> None:
    host.rows = [Socket(ESTABLISHED, HERE, 631, HERE, 50_000, 6, 1)]
    observer.observe()
    host.rows = [Socket(CLOSE_WAIT, HERE, 631, HERE, 50_000, 6, 1)]
    (stuck,) = observer.observe().stuck or ()
    assert (stuck.group.owner, stuck.group.port, stuck.age) == (PRINTD, 631, 30.0)
    assert OTHER_CALLER not in host.kept


def test_new_sockets_make_doubtful_who_held_their_inode_before(observer: Observer, host: Host) -> None:
    observer.observe()
    other = Listener(HERE, 8080, 7, 0, 128)
    host.rows = [*host.rows, call(40_000)]
    host.listening = [LISTENER, other]
    observer.observe()
    assert host.doubted == {20, 7}
    observer.observe()
    assert host.doubted == set()


def test_a_socket_that_changes_its_state_is_no_new_one() -> None:
    host = Host()
    observer = host.observer()
    host.rows = [*host.rows, call(40_000)]
    observer.observe()
    host.rows = [*host.rows[:-1], call(40_000, CLOSE_WAIT)]
    observer.observe()
    assert host.doubted == set()
