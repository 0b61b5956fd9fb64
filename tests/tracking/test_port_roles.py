"""Direction of connections whose listener is not known, by their ports."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from exporter.model.groups import Direction
from exporter.model.host import EphemeralRange
from exporter.model.sockets import (
    CLOSE_WAIT,
    ESTABLISHED,
    HIDDEN_OWNER_KEY,
    NO_OWNER_KEY,
    SYN_RECV,
    SYN_SENT,
    TIME_WAIT,
    Socket,
)
from exporter.portable.socket_list import SocketList
from exporter.tracking.classifier import Classifier
from exporter.tracking.destinations import DestinationOwners
from exporter.tracking.listeners import ListenerTable

from .sockets import EPHEMERAL, SERVER, connection, listening, owner_of

NO_LISTENERS = listening()


def between(local_port: int, remote_port: int, state: int = ESTABLISHED, owner_key: int = 100) -> Socket:
    return connection(("10.0.0.1", local_port), ("10.0.0.2", remote_port), state, owner_key)


def directions(
    sockets: Iterable[Socket],
    listeners: ListenerTable = NO_LISTENERS,
    ephemeral: EphemeralRange | None = EPHEMERAL,
) -> list[str]:
    """Return the directions of sockets that are all new."""
    rows = SocketList(sockets)
    classifier = Classifier(listeners, DestinationOwners(), owner_of, ephemeral)
    classifier.learn_ports([rows])
    return [classifier(row, None).direction.value for row in rows]


@pytest.mark.parametrize(
    ("local_port", "remote_port", "direction"),
    [
        (8601, 40_001, "inbound"),
        (8601, 49_999, "inbound"),
        (40_500, 40_001, "inbound"),  # Reserved: no client's.
        (8601, 443, "outbound"),
        (8601, 39_999, "outbound"),
        (8601, 50_000, "outbound"),
        (8601, 40_500, "outbound"),
        (40_001, 443, "outbound"),
        (40_001, 40_002, "outbound"),  # Unknowable: a service in the ephemeral range is called.
    ],
)
def test_fixed_port_towards_an_ephemeral_one_is_inbound(
    local_port: int, remote_port: int, direction: str
) -> None:
    assert directions([between(local_port, remote_port)]) == [direction]


def test_listener_on_another_address_does_not_decide() -> None:
    elsewhere = listening((("10.0.0.7", 8601), SERVER), (("10.0.0.7", 40_001), SERVER))
    sockets = [between(8601, 40_002), between(8601, 443), between(40_001, 40_002)]
    assert directions(sockets, elsewhere) == ["inbound", "outbound", "outbound"]


def test_three_ephemeral_remote_ports_make_a_port_a_service() -> None:
    clients = [between(45_000, 41_000 + number, CLOSE_WAIT) for number in range(3)]
    assert directions(clients[:2]) == ["outbound"] * 2
    assert directions(clients) == ["inbound"] * 3


def test_service_in_the_ephemeral_range_keeps_its_callers_outbound() -> None:
    """Local ports are reused for other destinations: by chance one has three of them."""
    services = [41_000, 41_001, 41_002]
    calls = [between(port, service) for service in services for port in range(45_000, 45_100)]
    assert set(directions(calls)) == {"outbound"}


def test_reused_local_port_of_a_client_stays_outbound() -> None:
    clients = [between(45_000, 41_000 + number) for number in range(120)]
    assert directions([*clients, between(45_000, 443)]) == ["inbound"] * 120 + ["outbound"]


def test_fixed_port_that_calls_many_services_is_outbound() -> None:
    services = [80, 443, 3306, 5432, 6379, 8080, 9092, 11_211, 27_017]
    assert set(directions([between(8601, port) for port in services])) == {"outbound"}


def test_service_has_clients_with_ports_outside_the_range() -> None:
    """NAT and other systems choose other ports."""
    clients = [between(8601, port) for port in (41_000, 42_000, 43_000, 2_000, 60_000)]
    assert directions([*clients, between(8601, 443)]) == ["inbound"] * 5 + ["outbound"]


@pytest.mark.parametrize("state", [ESTABLISHED, CLOSE_WAIT, SYN_RECV])
def test_unaccepted_connection_is_inbound_without_listener(state: int) -> None:
    """TPROXY: the listener has another address and port."""
    assert directions([between(40_001, 443, state, NO_OWNER_KEY)]) == ["inbound"]


@pytest.mark.parametrize("state", [TIME_WAIT, 4, 5, 9, 11])
def test_orphan_is_not_taken_for_an_unaccepted_connection(state: int) -> None:
    assert directions([between(40_001, 443, state, NO_OWNER_KEY)]) == ["outbound"]


def test_socket_with_a_hidden_owner_is_not_unaccepted() -> None:
    assert directions([between(40_001, 443, ESTABLISHED, HIDDEN_OWNER_KEY)]) == ["outbound"]


def test_connecting_socket_is_outbound() -> None:
    assert directions([between(8601, 41_000, SYN_SENT)]) == ["outbound"]


def test_unknown_range_is_assumed_from_32768() -> None:
    sockets = [between(8601, 32_768), between(8601, 32_767), between(50_000, 443), between(50_000, 50_001)]
    assert directions(sockets, ephemeral=None) == ["inbound", "outbound", "outbound", "outbound"]
    clients = [between(49_200, 50_000 + number) for number in range(3)]
    assert directions(clients, ephemeral=None) == ["inbound"] * 3


def test_services_are_learned_for_one_collection() -> None:
    classifier = Classifier(NO_LISTENERS, DestinationOwners(), owner_of, EPHEMERAL)
    clients = SocketList(between(45_000, 41_000 + number) for number in range(3))
    classifier.learn_ports([clients])
    assert classifier(clients[0], None).direction is Direction.INBOUND
    classifier.begin(owner_of)
    assert classifier(clients[0], None).direction is Direction.OUTBOUND
