"""Direction and owner of a socket."""

from __future__ import annotations

import pytest
from hypothesis import given

from exporter.model.groups import Direction, SocketGroup
from exporter.model.process import Owner, Unowned
from exporter.model.sockets import (
    CLOSE,
    CLOSE_WAIT,
    ESTABLISHED,
    LAST_ACK,
    SYN_SENT,
    TIME_WAIT,
    Listener,
    Socket,
)
from exporter.tracking.listeners import ListenerTable

from .classifying import (
    CONNECTION_STATES,
    HTTP,
    TO_443,
    WAS_INBOUND,
    WAS_OUTBOUND,
    ConnectionStates,
    classify,
    classify_states,
    connected,
)
from .sockets import (
    BOUND,
    CLIENT,
    LISTENERS,
    SERVER,
    WORKER,
    connection,
    inbound,
    listening,
    outbound,
    owner_of,
)


def test_accepted_connection_is_inbound_on_the_listening_port() -> None:
    assert classify(inbound(), HTTP) == SocketGroup(ESTABLISHED, SERVER, Direction.INBOUND, 80)


def test_connection_without_listener_is_outbound() -> None:
    assert classify(outbound(), HTTP) == SocketGroup(ESTABLISHED, CLIENT, Direction.OUTBOUND, 443, TO_443)


@pytest.mark.parametrize(
    ("port", "ephemeral"), [(39_999, False), (40_000, True), (49_999, True), (40_500, False)]
)
def test_port_is_ephemeral_within_the_range_unless_reserved(port: int, ephemeral: bool) -> None:
    path = classify(outbound(port=port)).addresses
    assert path is not None
    assert path.ephemeral == ephemeral


def test_listener_on_another_address_leaves_it_outbound() -> None:
    assert classify(inbound(), listening((("10.0.0.7", 80), SERVER))).direction is Direction.OUTBOUND


def test_bound_socket_has_no_direction() -> None:
    bound = connection(("0.0.0.0", 4000), ("0.0.0.0", 0), CLOSE, owner_key=100)
    expected = SocketGroup(CLOSE, SERVER, Direction.NONE, 4000)
    assert expected == classify(bound, listening((("0.0.0.0", 4000), SERVER)))


def test_connection_from_remote_port_0_is_inbound() -> None:
    """The kernel accepts them."""
    odd = connection(("10.0.0.1", 80), ("10.0.0.2", 0), owner_key=100)
    assert classify(odd, HTTP) == SocketGroup(ESTABLISHED, SERVER, Direction.INBOUND, 80)


@pytest.mark.parametrize("state", [ESTABLISHED, CLOSE_WAIT])
def test_socket_in_the_accept_queue_belongs_to_the_listener(state: int) -> None:
    assert classify(inbound(state, owner_key=0), HTTP).owner == SERVER


@pytest.mark.parametrize("state", [ESTABLISHED, CLOSE_WAIT])
def test_socket_in_the_accept_queue_follows_its_listener(state: int) -> None:
    """Another process holds the listener by now: a child, or one that was passed it."""
    previous = WAS_INBOUND._replace(owner=WORKER)
    assert classify(inbound(state, owner_key=0), HTTP, previous).owner == SERVER


def test_accepted_connection_belongs_to_the_worker_that_holds_it() -> None:
    assert classify(inbound(owner_key=101), HTTP).owner == WORKER


def test_unresolved_owner_key_gives_not_found() -> None:
    assert classify(inbound(owner_key=999)).owner is Unowned.NOT_FOUND


def test_orphan_keeps_its_previous_owner() -> None:
    orphan = classify(outbound(LAST_ACK, owner_key=0), previous=WAS_OUTBOUND)
    assert orphan == WAS_OUTBOUND._replace(state=LAST_ACK)


def test_orphan_never_seen_has_no_owner() -> None:
    assert classify(outbound(LAST_ACK, owner_key=0), destinations=connected(CLIENT)).owner is Unowned.RELEASED


def test_connection_stays_inbound_after_its_listener_closed() -> None:
    assert classify(inbound(CLOSE_WAIT), previous=WAS_INBOUND) == WAS_INBOUND._replace(state=CLOSE_WAIT)


def test_outbound_orphan_does_not_belong_to_a_later_listener() -> None:
    later = listening((("0.0.0.0", 40_001), SERVER))
    previous = WAS_OUTBOUND._replace(owner=Unowned.NOT_FOUND)
    assert classify(outbound(LAST_ACK, owner_key=0), later, previous).owner is Unowned.RELEASED


def test_bound_socket_that_connects_becomes_outbound() -> None:
    previous = SocketGroup(CLOSE, CLIENT, Direction.NONE, 40_001)
    assert classify(outbound(SYN_SENT), previous=previous).direction is Direction.OUTBOUND


@given(CONNECTION_STATES)
def test_direction_never_changes_during_a_connection(states: ConnectionStates) -> None:
    assert len({(group.direction, group.port, group.addresses) for group in classify_states(states)}) == 1


@given(CONNECTION_STATES)
def test_group_fields_are_consistent(states: ConnectionStates) -> None:
    for (state, *_), group in zip(states[1], classify_states(states), strict=True):
        assert group.state == state
        assert group.direction is not Direction.NONE
        assert (group.addresses is not None) == (group.direction is Direction.OUTBOUND)
        assert (group.attribution is not None) == (state == TIME_WAIT)


@given(BOUND, LISTENERS)
def test_bound_socket_is_grouped_by_its_local_port(
    socket: Socket, present: list[tuple[Listener, Owner]]
) -> None:
    table = ListenerTable()
    table.update(present)
    group = classify(socket, table)
    assert group == SocketGroup(CLOSE, owner_of(socket.owner_key), Direction.NONE, socket.local_port)
