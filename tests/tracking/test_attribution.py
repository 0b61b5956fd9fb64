"""Whose a socket in TIME_WAIT was, and how that is known: the kernel keeps no owner for it."""

from __future__ import annotations

from hypothesis import given

from exporter.model.groups import AddressPair, Attribution, Direction, SocketGroup
from exporter.model.process import Owner, ProcessId, Unowned
from exporter.model.sockets import ESTABLISHED, TIME_WAIT, Socket
from exporter.tracking.destinations import DestinationOwners
from exporter.tracking.listeners import ListenerTable

from .classifying import HTTP, LIFE, NOBODY, WAS_INBOUND, WAS_OUTBOUND, Life, classify, live, talking
from .sockets import CLIENT, OTHER_CLIENT, SERVER, inbound, ip, listening, outbound


def past(
    socket: Socket,
    listeners: ListenerTable = NOBODY,
    previous: SocketGroup | None = None,
    destinations: DestinationOwners | None = None,
) -> tuple[Owner, Attribution | None]:
    group = classify(socket, listeners, previous, destinations)
    return group.owner, group.attribution


WAITING_HERE = inbound(TIME_WAIT, owner_key=0)
WAITING_THERE = outbound(TIME_WAIT, owner_key=0)


def test_time_wait_of_a_server_belongs_to_the_listener() -> None:
    assert past(WAITING_HERE, HTTP) == (SERVER, Attribution.LISTENER)


def test_time_wait_keeps_the_owner_observed_earlier() -> None:
    assert past(WAITING_THERE, previous=WAS_OUTBOUND) == (CLIENT, Attribution.OBSERVED)


def test_time_wait_is_inferred_from_the_only_process_at_its_destination() -> None:
    assert past(WAITING_THERE, destinations=talking(CLIENT)) == (CLIENT, Attribution.INFERRED)


def test_observed_owner_takes_precedence_over_inferred() -> None:
    seen = past(WAITING_THERE, previous=WAS_OUTBOUND, destinations=talking(OTHER_CLIENT))
    assert seen == (CLIENT, Attribution.OBSERVED)


def test_time_wait_has_no_owner_if_several_processes_use_the_destination() -> None:
    shared = past(WAITING_THERE, destinations=talking(CLIENT, OTHER_CLIENT))
    assert shared == (Unowned.RELEASED, Attribution.NONE)


def test_time_wait_has_no_owner_if_no_process_was_seen() -> None:
    assert past(WAITING_THERE) == (Unowned.RELEASED, Attribution.NONE)


def test_time_wait_of_a_listener_with_unknown_owner_is_not_found() -> None:
    hidden = listening((("0.0.0.0", 80), Unowned.NOT_FOUND))
    assert past(WAITING_HERE, hidden) == (Unowned.NOT_FOUND, Attribution.NONE)
    assert past(WAITING_HERE, hidden, WAS_INBOUND) == (SERVER, Attribution.OBSERVED)


def test_later_listener_does_not_claim_an_outbound_connection() -> None:
    later = listening((("0.0.0.0", 40_001), SERVER))
    assert past(WAITING_THERE, later, WAS_OUTBOUND) == (CLIENT, Attribution.OBSERVED)


def test_inbound_time_wait_is_not_inferred_from_destinations() -> None:
    """The listener is long gone; the client's end was 10.0.0.2:50000."""
    destinations = DestinationOwners()
    path = AddressPair(ip("10.0.0.1"), ip("10.0.0.2"), ephemeral=True)
    destinations.update([SocketGroup(ESTABLISHED, CLIENT, Direction.OUTBOUND, 50_000, path)], str, 0.0)
    previous = WAS_INBOUND._replace(owner=Unowned.RELEASED)
    assert past(WAITING_HERE, NOBODY, previous, destinations) == (Unowned.RELEASED, Attribution.NONE)


@given(LIFE)
def test_attribution_matches_direction_and_owner(life: Life) -> None:
    for group in live(life):
        if group.attribution is Attribution.LISTENER:
            assert group.direction is Direction.INBOUND
        if group.attribution is Attribution.INFERRED:
            assert group.direction is Direction.OUTBOUND
        if group.attribution is not None:
            assert isinstance(group.owner, ProcessId) == (group.attribution is not Attribution.NONE)
