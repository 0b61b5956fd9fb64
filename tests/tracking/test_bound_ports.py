"""Ephemeral ports used towards one destination and on one address, and those that nobody gets."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.model.ephemeral_ports import DestinationPorts, ports_by_destination, unavailable_ports
from exporter.model.groups import AddressPair, Direction, SocketGroup
from exporter.model.host import EphemeralRange
from exporter.model.process import Owner, Unowned
from exporter.model.sockets import CLOSE, CLOSE_WAIT, ESTABLISHED, LISTEN, TIME_WAIT, Listener, Socket
from exporter.tracking import bound_ports as module
from exporter.tracking.bound_ports import BoundPortCounter
from exporter.tracking.classifier import Classifier
from exporter.tracking.destinations import DestinationOwners
from exporter.tracking.listeners import ListenerTable

from .sockets import (
    BOUND,
    CLIENT,
    CONNECTED,
    EPHEMERAL,
    LISTENERS,
    OTHER_CLIENT,
    SERVER,
    Place,
    as_the_kernel_has_them,
    between,
    ip,
    listener,
    listening,
    owner_of,
)

DATABASE = ip("10.0.0.9")
ANYWHERE = (bytes(4), bytes(16))


def grouped(sockets: Iterable[Socket], listeners: ListenerTable | None = None) -> Counter[SocketGroup]:
    classify = Classifier(listeners or ListenerTable(), DestinationOwners(), owner_of, EPHEMERAL)
    return Counter(classify(socket, None) for socket in sockets)


def calling(
    source: str, first: int, count: int, to: Place = ("10.0.0.9", 5432), state: int = ESTABLISHED
) -> list[Socket]:
    return [between((source, port), to, state, 200, port) for port in range(first, first + count)]


def test_ports_are_summed_over_states_and_processes() -> None:
    path = AddressPair(ip("10.0.0.1"), DATABASE, ephemeral=True)
    groups = {
        SocketGroup(ESTABLISHED, CLIENT, Direction.OUTBOUND, 5432, path): 3,
        SocketGroup(CLOSE_WAIT, OTHER_CLIENT, Direction.OUTBOUND, 5432, path): 4,
        SocketGroup(TIME_WAIT, Unowned.RELEASED, Direction.OUTBOUND, 5432, path): 5,
    }
    assert ports_by_destination(groups) == [DestinationPorts(DATABASE, 5432, 12)]


def test_destinations_are_sorted_by_ports_of_the_busiest_source_address() -> None:
    sockets = [
        *calling("10.0.0.1", 40_000, 3),
        *calling("10.0.0.2", 40_000, 5),
        *calling("10.0.0.1", 40_010, 6, ("10.0.0.8", 443)),
        *calling("10.0.0.1", 40_000, 5, ("10.0.0.8", 80)),
    ]
    assert ports_by_destination(grouped(sockets)) == [
        DestinationPorts(ip("10.0.0.8"), 443, 6),
        DestinationPorts(ip("10.0.0.8"), 80, 5),
        DestinationPorts(DATABASE, 5432, 5),
    ]


def test_ports_outside_the_range_are_not_counted() -> None:
    assert not ports_by_destination(
        grouped([*calling("10.0.0.1", 1_000, 5), *calling("10.0.0.1", 40_500, 1)])
    )


def test_inbound_connections_are_not_counted() -> None:
    served = listening((("0.0.0.0", 40_000), SERVER))
    sockets = [between(("10.0.0.1", 40_000), ("10.0.0.9", port)) for port in range(5000, 5005)]
    assert not ports_by_destination(grouped(sockets, served))


def test_listening_and_bound_ports_are_unavailable() -> None:
    bound = grouped([between(("10.0.0.1", port), ("0.0.0.0", 0), CLOSE) for port in (40_001, 40_002, 1_000)])
    several = [listener((address, port)) for address in ("::", "10.0.0.1") for port in (40_002, 40_003, 80)]
    assert unavailable_ports(bound, several, EPHEMERAL.contains) == 3


def test_port_of_inbound_connections_stays_unavailable_after_its_listener_closed() -> None:
    """As of an FTP server in passive mode: it closes its listener after one accept()."""
    serving = {SocketGroup(state, SERVER, Direction.INBOUND, 40_007): 1 for state in (ESTABLISHED, TIME_WAIT)}
    assert unavailable_ports(serving, [], EPHEMERAL.contains) == 1


def test_remote_port_of_a_closing_connection_stays_available() -> None:
    """DELETE_TCB of Windows, and what a failed connect() leaves on BSD."""
    path = AddressPair(ip("10.0.0.1"), DATABASE, ephemeral=True)
    dying = {SocketGroup(CLOSE, CLIENT, Direction.OUTBOUND, 40_008, path): 1}
    assert unavailable_ports(dying, [], EPHEMERAL.contains) == 0


def most_on_one_address(sockets: list[Socket], listeners: list[Listener]) -> int:
    ports = BoundPortCounter(EPHEMERAL)
    ports.add((one.local_address, one.local_port) for one in [*sockets, *listeners])
    return ports.max_per_address()


def test_port_bound_to_all_addresses_counts_on_each() -> None:
    sockets = [
        *calling("10.0.0.1", 40_000, 4),
        *calling("10.0.0.2", 40_000, 2),
        between(("0.0.0.0", 40_001), ("0.0.0.0", 0), CLOSE),
        between(("0.0.0.0", 40_009), ("0.0.0.0", 0), CLOSE),
    ]
    listeners = [listener(("::", 40_010)), listener(("10.0.0.2", 40_011)), listener(("::", 80))]
    assert most_on_one_address(sockets, listeners) == 4 + 2


@pytest.mark.parametrize("few", [1, 2_048])
@given(
    st.lists(st.tuples(st.sampled_from([b"", bytes(4), bytes(16), b"here", b"else"]), st.integers(9, 21))),
    st.frozensets(st.integers(10, 20), max_size=3),
)
def test_max_per_address_for_any_bound_and_reserved_ports(
    few: int, ends: list[tuple[bytes, int]], reserved: frozenset[int]
) -> None:
    ephemeral = EphemeralRange(10, 20, reserved)
    ports = BoundPortCounter(ephemeral)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_MAX_SPARSE_PORTS", few)
        for first in range(0, len(ends), 5):
            ports.add(ends[first : first + 5])
    everywhere = {port for address, port in ends if not address.strip(b"\0")}
    on_each = ({port for each, port in ends if each == address} | everywhere for address, _ in ends)
    assert ports.max_per_address() == max(
        (len(set(filter(ephemeral.contains, ports))) for ports in on_each), default=0
    )


def test_port_used_for_many_destinations_counts_once() -> None:
    sockets = [between(("10.0.0.1", 40_000), ("10.0.0.9", port)) for port in range(5000, 5005)]
    assert most_on_one_address(sockets, []) == 1


def test_wildcard_ports_count_without_other_addresses() -> None:
    assert most_on_one_address([], [listener(("::", 40_010)), listener(("::", 80))]) == 1
    assert most_on_one_address([], []) == 0


SOCKETS = st.lists(CONNECTED | BOUND, max_size=40).map(as_the_kernel_has_them)
Owned = list[tuple[Listener, Owner]]


def table_of(listeners: Owned) -> ListenerTable:
    table = ListenerTable()
    table.update(listeners, 0.0)
    return table


@given(SOCKETS, LISTENERS)
def test_used_is_the_number_of_distinct_ports_of_the_busiest_source(
    sockets: list[Socket], listeners: Owned
) -> None:
    table = table_of(listeners)
    ports: dict[tuple[bytes, int], dict[bytes, set[int]]] = {}
    for row in sockets:
        served = table.owner(row.local_address, row.local_port)
        if row.state != CLOSE and served is None and EPHEMERAL.contains(row.local_port):
            sources = ports.setdefault((row.remote_address, row.remote_port), {})
            sources.setdefault(row.local_address, set()).add(row.local_port)
    found = ports_by_destination(grouped(sockets, table))
    assert {(each.remote_address, each.remote_port): each.used for each in found} == {
        place: max(map(len, sources.values())) for place, sources in ports.items()
    }
    assert found == sorted(found, key=lambda each: -each.used)


@given(SOCKETS, LISTENERS)
def test_unavailable_ports_are_the_distinct_bound_ports(sockets: list[Socket], listeners: Owned) -> None:
    table = table_of(listeners)
    lost = {one.local_port for one, _ in listeners} | {
        row.local_port for row in sockets if row.state == CLOSE
    }
    groups = grouped(sockets, table)
    groups.update(SocketGroup(LISTEN, owner, Direction.NONE, one.local_port) for one, owner in listeners)
    assert unavailable_ports(groups, [one for one, _ in listeners], EPHEMERAL.contains) == len(
        set(filter(EPHEMERAL.contains, lost))
    )


@given(SOCKETS, LISTENERS)
def test_max_per_address_is_the_most_distinct_ports(sockets: list[Socket], listeners: Owned) -> None:
    ports = {(row.local_address, row.local_port) for row in sockets}
    ports |= {(one.local_address, one.local_port) for one, _ in listeners}
    addresses = {address for address, _ in ports} or {bytes(4)}
    expected = max(
        len({port for where, port in ports if where in (address, *ANYWHERE) and EPHEMERAL.contains(port)})
        for address in addresses
    )
    rows = [one for one, _ in listeners]
    assert most_on_one_address(sockets, rows) == expected
