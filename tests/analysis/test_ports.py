"""Which side called, and whose a socket is."""

from __future__ import annotations

from socket import AF_INET, AF_INET6, inet_pton

import pytest

from exporter.analysis.ports import LINGER, Listeners, group_of
from exporter.model import (
    CLOSE,
    CLOSE_WAIT,
    ESTABLISHED,
    LAST_ACK,
    TIME_WAIT,
    Direction,
    Group,
    Listener,
    Owner,
    ProcessId,
    Socket,
    Unowned,
)

SERVER = ProcessId(10, 1.0)
WORKER = ProcessId(11, 1.0)
CLIENT = ProcessId(20, 2.0)
HOLDERS = {100: SERVER, 101: WORKER, 200: CLIENT}


def ip(text: str) -> bytes:
    return inet_pton(AF_INET6 if ":" in text else AF_INET, text)


def owner_of(holder: int) -> Owner:
    return HOLDERS.get(holder, Unowned.NOT_FOUND)


def listeners(*places: tuple[str, int, Owner]) -> Listeners:
    table = Listeners()
    table.update([(Listener(ip(address), port, 1, 0, 128), owner) for address, port, owner in places], 0.0)
    return table


def socket(
    state: int = ESTABLISHED,
    local: tuple[str, int] = ("10.0.0.1", 80),
    remote: tuple[str, int] = ("10.0.0.2", 50_000),
    holder: int = 100,
) -> Socket:
    return Socket(state, ip(local[0]), local[1], ip(remote[0]), remote[1], holder, 7)


def test_what_a_listener_accepted_is_inbound_at_its_port() -> None:
    table = listeners(("0.0.0.0", 80, SERVER))
    expected = Group(ESTABLISHED, SERVER, Direction.INBOUND, 80)
    assert expected == group_of(socket(), None, table, owner_of)


def test_what_nobody_listens_for_is_outbound_to_the_remote_port() -> None:
    calling = socket(local=("10.0.0.1", 50_001), remote=("10.0.0.9", 443), holder=200)
    expected = Group(ESTABLISHED, CLIENT, Direction.OUTBOUND, 443)
    assert expected == group_of(calling, None, listeners(("0.0.0.0", 80, SERVER)), owner_of)


def test_a_listener_on_another_address_accepted_nothing() -> None:
    table = listeners(("10.0.0.7", 80, SERVER))
    assert group_of(socket(), None, table, owner_of).direction is Direction.OUTBOUND


@pytest.mark.parametrize("anywhere", ["0.0.0.0", "::"])
def test_a_listener_on_all_addresses_accepts_ipv4(anywhere: str) -> None:
    table = listeners((anywhere, 80, SERVER))
    assert group_of(socket(), None, table, owner_of).direction is Direction.INBOUND


def test_a_socket_that_is_only_bound_has_no_direction() -> None:
    bound = socket(state=CLOSE, local=("0.0.0.0", 4000), remote=("0.0.0.0", 0))
    expected = Group(CLOSE, SERVER, Direction.NONE, 4000)
    assert expected == group_of(bound, None, listeners(("0.0.0.0", 4000, SERVER)), owner_of)


@pytest.mark.parametrize("state", [ESTABLISHED, CLOSE_WAIT])
def test_what_waits_in_the_accept_queue_is_the_listeners(state: int) -> None:
    waiting = socket(state=state, holder=0)
    assert group_of(waiting, None, listeners(("0.0.0.0", 80, SERVER)), owner_of).owner == SERVER


def test_a_worker_that_accepted_owns_what_its_parent_listens_for() -> None:
    assert group_of(socket(holder=101), None, listeners(("0.0.0.0", 80, SERVER)), owner_of).owner == WORKER


def test_time_wait_on_the_server_is_the_listeners() -> None:
    waiting = socket(state=TIME_WAIT, holder=0)
    assert group_of(waiting, None, listeners(("0.0.0.0", 80, SERVER)), owner_of).owner == SERVER


def test_time_wait_of_a_caller_never_seen_is_nobodys() -> None:
    waiting = socket(state=TIME_WAIT, holder=0)
    assert group_of(waiting, None, listeners(), owner_of).owner is Unowned.RELEASED


def test_an_orphan_stays_with_who_held_it() -> None:
    before = Group(ESTABLISHED, CLIENT, Direction.OUTBOUND, 443)
    orphan = socket(LAST_ACK, ("10.0.0.1", 50_001), ("10.0.0.9", 443), holder=0)
    assert Group(LAST_ACK, CLIENT, Direction.OUTBOUND, 443) == group_of(orphan, before, listeners(), owner_of)


def test_a_holder_that_is_not_found_is_said_to_be_so() -> None:
    assert group_of(socket(holder=999), None, listeners(), owner_of).owner is Unowned.NOT_FOUND


def test_inbound_stays_inbound_when_the_listener_is_long_gone() -> None:
    before = Group(ESTABLISHED, SERVER, Direction.INBOUND, 80)
    expected = Group(CLOSE_WAIT, SERVER, Direction.INBOUND, 80)
    assert expected == group_of(socket(CLOSE_WAIT), before, Listeners(), owner_of)


def test_a_port_stays_inbound_for_a_while_after_its_listener_went() -> None:
    table = listeners(("0.0.0.0", 80, SERVER))
    table.update([], LINGER)
    assert table.owner(ip("10.0.0.1"), 80) == SERVER
    table.update([], LINGER + 1)
    assert table.owner(ip("10.0.0.1"), 80) is None


def test_of_several_listeners_on_a_port_the_lowest_pid_stands_for_all() -> None:
    table = listeners(("::", 80, WORKER), ("::", 80, Unowned.NOT_FOUND), ("::", 80, SERVER))
    assert table.owner(ip("::1"), 80) == SERVER


def test_a_dead_listener_still_makes_its_port_inbound() -> None:
    table = listeners(("0.0.0.0", 80, SERVER))
    table.forget({SERVER})
    assert table.owner(ip("10.0.0.1"), 80) is Unowned.RELEASED


def test_the_very_address_wins_over_all_addresses() -> None:
    table = listeners(("0.0.0.0", 80, SERVER), ("10.0.0.1", 80, WORKER))
    assert table.owner(ip("10.0.0.1"), 80) == WORKER
