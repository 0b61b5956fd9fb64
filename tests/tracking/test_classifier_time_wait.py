"""Owners of sockets in TIME_WAIT and the attribution methods: the kernel keeps no owner."""

from __future__ import annotations

from hypothesis import given

from exporter.model.groups import AddressPair, Attribution, Direction, SocketGroup
from exporter.model.process import Owner, ProcessId, Unowned
from exporter.model.sockets import ESTABLISHED, TIME_WAIT, Socket
from exporter.tracking.destinations import DestinationOwners
from exporter.tracking.listeners import ListenerTable

from .classifying import (
    CONNECTION_STATES,
    HTTP,
    NO_LISTENERS,
    WAS_INBOUND,
    WAS_OUTBOUND,
    ConnectionStates,
    classify,
    classify_states,
    connected,
)
from .sockets import CLIENT, OTHER_CLIENT, SERVER, inbound, ip, listening, outbound


def attribute(
    socket: Socket,
    listeners: ListenerTable = NO_LISTENERS,
    previous: SocketGroup | None = None,
    destinations: DestinationOwners | None = None,
) -> tuple[Owner, Attribution | None]:
    group = classify(socket, listeners, previous, destinations)
    return group.owner, group.attribution


INBOUND_TIME_WAIT = inbound(TIME_WAIT, owner_key=0)
OUTBOUND_TIME_WAIT = outbound(TIME_WAIT, owner_key=0)


def test_time_wait_of_a_server_belongs_to_the_listener() -> None:
    assert attribute(INBOUND_TIME_WAIT, HTTP) == (SERVER, Attribution.LISTENER)


def test_time_wait_keeps_the_owner_observed_earlier() -> None:
    assert attribute(OUTBOUND_TIME_WAIT, previous=WAS_OUTBOUND) == (CLIENT, Attribution.OBSERVED)


def test_time_wait_is_inferred_from_the_only_process_that_opens_connections() -> None:
    assert attribute(OUTBOUND_TIME_WAIT, destinations=connected(CLIENT)) == (CLIENT, Attribution.INFERRED)


def test_time_wait_of_a_process_that_was_not_found_is_not_inferred() -> None:
    previous = WAS_OUTBOUND._replace(owner=Unowned.NOT_FOUND)
    attributed = attribute(OUTBOUND_TIME_WAIT, NO_LISTENERS, previous, connected(CLIENT))
    assert attributed == (Unowned.RELEASED, Attribution.NONE)


def test_observed_owner_takes_precedence_over_inferred() -> None:
    attributed = attribute(OUTBOUND_TIME_WAIT, previous=WAS_OUTBOUND, destinations=connected(OTHER_CLIENT))
    assert attributed == (CLIENT, Attribution.OBSERVED)


def test_time_wait_has_no_owner_with_several_connected_processes() -> None:
    shared = attribute(OUTBOUND_TIME_WAIT, destinations=connected(CLIENT, OTHER_CLIENT))
    assert shared == (Unowned.RELEASED, Attribution.NONE)


def test_time_wait_has_no_owner_if_no_process_was_seen() -> None:
    assert attribute(OUTBOUND_TIME_WAIT) == (Unowned.RELEASED, Attribution.NONE)


def test_time_wait_of_a_listener_with_unknown_owner_is_not_found() -> None:
    hidden = listening((("0.0.0.0", 80), Unowned.NOT_FOUND))
    assert attribute(INBOUND_TIME_WAIT, hidden) == (Unowned.NOT_FOUND, Attribution.NONE)
    assert attribute(INBOUND_TIME_WAIT, hidden, WAS_INBOUND) == (SERVER, Attribution.OBSERVED)


def test_time_wait_seen_while_the_listener_existed_keeps_its_owner() -> None:
    assert attribute(INBOUND_TIME_WAIT, NO_LISTENERS, WAS_INBOUND) == (SERVER, Attribution.OBSERVED)


def test_time_wait_first_seen_after_the_listener_closed_is_not_its() -> None:
    table = listening((("0.0.0.0", 40_001), SERVER))
    table.update([])
    assert attribute(OUTBOUND_TIME_WAIT, table) == (Unowned.RELEASED, Attribution.NONE)
    assert classify(outbound(), table).direction is Direction.OUTBOUND


def test_later_listener_does_not_claim_an_outbound_connection() -> None:
    later = listening((("0.0.0.0", 40_001), SERVER))
    assert attribute(OUTBOUND_TIME_WAIT, later, WAS_OUTBOUND) == (CLIENT, Attribution.OBSERVED)


def test_inbound_time_wait_is_not_inferred_from_destinations() -> None:
    """The listener closed long ago; the endpoint of the client was 10.0.0.2:50000."""
    destinations = DestinationOwners()
    path = AddressPair(ip("10.0.0.1"), ip("10.0.0.2"), ephemeral=True)
    groups = [SocketGroup(ESTABLISHED, CLIENT, Direction.OUTBOUND, 50_000, path)]
    destinations.update(groups, [], str, 0.0)
    destinations.update(groups, groups, str, 15.0)
    previous = WAS_INBOUND._replace(owner=Unowned.RELEASED)
    assert attribute(INBOUND_TIME_WAIT, NO_LISTENERS, previous, destinations) == (
        Unowned.RELEASED,
        Attribution.NONE,
    )


@given(CONNECTION_STATES)
def test_attribution_matches_direction_and_owner(states: ConnectionStates) -> None:
    for group in classify_states(states):
        if group.attribution is Attribution.LISTENER:
            assert group.direction is Direction.INBOUND
        if group.attribution is Attribution.INFERRED:
            assert group.direction is Direction.OUTBOUND
        if group.attribution is not None:
            assert isinstance(group.owner, ProcessId) == (group.attribution is not Attribution.NONE)
