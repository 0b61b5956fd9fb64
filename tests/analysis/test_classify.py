"""Which side called, and whose a socket is."""

from __future__ import annotations

import pytest
from hypothesis import given

from exporter.analysis.listening import Listeners
from exporter.model import (
    CLOSE,
    CLOSE_WAIT,
    ESTABLISHED,
    LAST_ACK,
    SYN_SENT,
    TIME_WAIT,
    Direction,
    Group,
    Listener,
    Owner,
    Socket,
    Unowned,
)

from .classifying import HTTP, LIFE, TO_443, WAS_INBOUND, WAS_OUTBOUND, Life, classify, live, talking
from .sockets import BOUND, CLIENT, LISTENERS, SERVER, WORKER, between, inbound, listening, outbound, owner_of


def test_what_a_listener_accepted_is_inbound_at_its_port() -> None:
    assert classify(inbound(), HTTP) == Group(ESTABLISHED, SERVER, Direction.INBOUND, 80)


def test_what_nobody_listens_for_is_outbound_to_the_remote_port() -> None:
    assert classify(outbound(), HTTP) == Group(ESTABLISHED, CLIENT, Direction.OUTBOUND, 443, TO_443)


@pytest.mark.parametrize(
    ("port", "ephemeral"), [(39_999, False), (40_000, True), (49_999, True), (40_500, False)]
)
def test_a_port_that_the_system_would_not_choose_is_not_ephemeral(port: int, ephemeral: bool) -> None:
    path = classify(outbound(port=port)).path
    assert path is not None
    assert path.ephemeral == ephemeral


def test_a_listener_on_another_address_accepted_nothing() -> None:
    assert classify(inbound(), listening((("10.0.0.7", 80), SERVER))).direction is Direction.OUTBOUND


def test_a_socket_that_is_only_bound_has_no_direction() -> None:
    bound = between(("0.0.0.0", 4000), ("0.0.0.0", 0), CLOSE, holder=100)
    expected = Group(CLOSE, SERVER, Direction.NONE, 4000)
    assert expected == classify(bound, listening((("0.0.0.0", 4000), SERVER)))


def test_a_connection_from_port_0_is_a_connection() -> None:
    """The kernel lets them in."""
    odd = between(("10.0.0.1", 80), ("10.0.0.2", 0), holder=100)
    assert classify(odd, HTTP) == Group(ESTABLISHED, SERVER, Direction.INBOUND, 80)


@pytest.mark.parametrize("state", [ESTABLISHED, CLOSE_WAIT])
def test_what_waits_in_the_accept_queue_is_the_listeners(state: int) -> None:
    assert classify(inbound(state, holder=0), HTTP).owner == SERVER


def test_a_worker_that_accepted_owns_what_its_parent_listens_for() -> None:
    assert classify(inbound(holder=101), HTTP).owner == WORKER


def test_a_holder_that_is_not_found_is_said_to_be_so() -> None:
    assert classify(inbound(holder=999)).owner is Unowned.NOT_FOUND


def test_an_orphan_stays_with_who_held_it() -> None:
    orphan = classify(outbound(LAST_ACK, holder=0), before=WAS_OUTBOUND)
    assert orphan == WAS_OUTBOUND._replace(state=LAST_ACK)


def test_an_orphan_never_seen_is_nobodys_whoever_talks_there() -> None:
    assert classify(outbound(LAST_ACK, holder=0), talkers=talking(CLIENT)).owner is Unowned.RELEASED


def test_inbound_stays_inbound_when_the_listener_is_long_gone() -> None:
    assert classify(inbound(CLOSE_WAIT), before=WAS_INBOUND) == WAS_INBOUND._replace(state=CLOSE_WAIT)


def test_a_bound_socket_that_calls_becomes_outbound() -> None:
    before = Group(CLOSE, CLIENT, Direction.NONE, 40_001)
    assert classify(outbound(SYN_SENT), before=before).direction is Direction.OUTBOUND


@given(LIFE)
def test_a_connection_never_turns_round(life: Life) -> None:
    assert len({(group.direction, group.port, group.path) for group in live(life)}) == 1


@given(LIFE)
def test_a_group_is_whole(life: Life) -> None:
    for (state, *_), group in zip(life[1], live(life), strict=True):
        assert group.state == state
        assert group.direction is not Direction.NONE
        assert (group.path is not None) == (group.direction is Direction.OUTBOUND)
        assert (group.attribution is not None) == (state == TIME_WAIT)


@given(BOUND, LISTENERS)
def test_what_is_only_bound_is_at_its_local_port(
    socket: Socket, present: list[tuple[Listener, Owner]]
) -> None:
    table = Listeners()
    table.update(present, 0.0)
    group = classify(socket, table)
    assert group == Group(CLOSE, owner_of(socket.holder), Direction.NONE, socket.local_port)
