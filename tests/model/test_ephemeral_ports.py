"""Ephemeral ports used towards one destination, and ports unavailable to connect()."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as st

from exporter.model.ephemeral_ports import DestinationPorts, ports_by_destination, unavailable_ports
from exporter.model.groups import AddressPair, Direction, SocketGroup
from exporter.model.process import Owner, Unowned
from exporter.model.sockets import (
    CLOSE,
    CLOSE_WAIT,
    ESTABLISHED,
    LISTEN,
    NO_OWNER_KEY,
    SYN_RECV,
    TIME_WAIT,
    Listener,
    Socket,
)
from exporter.tracking.classifier import Classifier
from exporter.tracking.destinations import DestinationOwners
from exporter.tracking.listeners import ListenerTable

from ..tracking.sockets import (
    BOUND,
    CLIENT,
    CONNECTED,
    EPHEMERAL,
    LISTENERS,
    OTHER_CLIENT,
    SERVER,
    connection,
    connections,
    consistent,
    ip,
    listener,
    listening,
    owner_of,
)

DATABASE = ip("10.0.0.9")


def grouped(sockets: Iterable[Socket], listeners: ListenerTable | None = None) -> Counter[SocketGroup]:
    classify = Classifier(listeners or ListenerTable(), DestinationOwners(), owner_of, EPHEMERAL)
    return Counter(classify(socket, None) for socket in sockets)


def test_ports_are_summed_over_states_and_processes() -> None:
    path = AddressPair(ip("10.0.0.1"), DATABASE, ephemeral=True)
    groups = {
        SocketGroup(ESTABLISHED, CLIENT, Direction.OUTBOUND, 5432, path): 3,
        SocketGroup(CLOSE_WAIT, OTHER_CLIENT, Direction.OUTBOUND, 5432, path): 4,
        SocketGroup(TIME_WAIT, Unowned.RELEASED, Direction.OUTBOUND, 5432, path): 5,
    }
    assert ports_by_destination(groups) == [DestinationPorts(DATABASE, 5432, 12)]


def test_destinations_are_sorted_by_ports_of_the_busiest_source() -> None:
    sockets = [
        *connections("10.0.0.1", 40_000, 3),
        *connections("10.0.0.2", 40_000, 5),
        *connections("10.0.0.1", 40_010, 6, ("10.0.0.8", 443)),
        *connections("10.0.0.1", 40_000, 5, ("10.0.0.8", 80)),
    ]
    assert ports_by_destination(grouped(sockets)) == [
        DestinationPorts(ip("10.0.0.8"), 443, 6),
        DestinationPorts(ip("10.0.0.8"), 80, 5),
        DestinationPorts(DATABASE, 5432, 5),
    ]


def test_ports_outside_the_range_are_not_counted() -> None:
    assert not ports_by_destination(
        grouped([*connections("10.0.0.1", 1_000, 5), *connections("10.0.0.1", 40_500, 1)])
    )


def test_inbound_connections_are_not_counted() -> None:
    table = listening((("0.0.0.0", 40_000), SERVER))
    sockets = [connection(("10.0.0.1", 40_000), ("10.0.0.9", port)) for port in range(5000, 5005)]
    assert not ports_by_destination(grouped(sockets, table))


def test_listening_and_bound_ports_are_unavailable() -> None:
    bound = grouped(
        [connection(("10.0.0.1", port), ("0.0.0.0", 0), CLOSE) for port in (40_001, 40_002, 1_000)]
    )
    listeners = [listener((address, port)) for address in ("::", "10.0.0.1") for port in (40_002, 40_003, 80)]
    assert unavailable_ports(bound, listeners, EPHEMERAL.contains) == 3


def test_inbound_port_stays_unavailable_without_its_listener() -> None:
    """An FTP server in passive mode closes its listener after one accept()."""
    inbound_groups = {
        SocketGroup(state, SERVER, Direction.INBOUND, 40_007): 1 for state in (ESTABLISHED, TIME_WAIT)
    }
    assert unavailable_ports(inbound_groups, [], EPHEMERAL.contains) == 1


def test_remote_port_of_a_closing_connection_stays_available() -> None:
    """DELETE_TCB on Windows, and the state after a failed connect() on BSD."""
    path = AddressPair(ip("10.0.0.1"), DATABASE, ephemeral=True)
    closing = {SocketGroup(CLOSE, CLIENT, Direction.OUTBOUND, 40_008, path): 1}
    assert unavailable_ports(closing, [], EPHEMERAL.contains) == 0


SOCKETS = st.lists(CONNECTED | BOUND, max_size=40).map(consistent)


Owned = list[tuple[Listener, Owner]]


def table_of(listeners: Owned) -> ListenerTable:
    table = ListenerTable()
    table.update(listeners)
    return table


def is_unaccepted(row: Socket) -> bool:
    """Return whether the socket is inbound even without a listener, and its port bound."""
    return row.owner_key == NO_OWNER_KEY and row.state in (ESTABLISHED, CLOSE_WAIT, SYN_RECV)


@given(SOCKETS, LISTENERS)
def test_used_is_the_distinct_ports_of_the_busiest_source(sockets: list[Socket], listeners: Owned) -> None:
    table = table_of(listeners)
    ports: dict[tuple[bytes, int], dict[bytes, set[int]]] = {}
    for row in sockets:
        listening_owner = table.owner(row.local_address, row.local_port)
        is_inbound = listening_owner is not None or is_unaccepted(row)
        if row.state != CLOSE and not is_inbound and EPHEMERAL.contains(row.local_port):
            sources = ports.setdefault((row.remote_address, row.remote_port), {})
            sources.setdefault(row.local_address, set()).add(row.local_port)
    by_destination = ports_by_destination(grouped(sockets, table))
    assert {
        (destination.remote_address, destination.remote_port): destination.used
        for destination in by_destination
    } == {endpoint: max(map(len, sources.values())) for endpoint, sources in ports.items()}
    assert by_destination == sorted(by_destination, key=lambda destination: -destination.used)


@given(SOCKETS, LISTENERS)
def test_unavailable_ports_are_the_distinct_bound_ports(sockets: list[Socket], listeners: Owned) -> None:
    table = table_of(listeners)
    bound = {listener.local_port for listener, _ in listeners} | {
        row.local_port for row in sockets if row.state == CLOSE or is_unaccepted(row)
    }
    groups = grouped(sockets, table)
    groups.update(
        SocketGroup(LISTEN, owner, Direction.NONE, listener.local_port) for listener, owner in listeners
    )
    assert unavailable_ports(groups, [listener for listener, _ in listeners], EPHEMERAL.contains) == len(
        set(filter(EPHEMERAL.contains, bound))
    )
