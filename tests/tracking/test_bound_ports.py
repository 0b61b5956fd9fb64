"""Bound ports by local address."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.model.host import EphemeralRange
from exporter.model.process import Owner
from exporter.model.sockets import CLOSE, Listener, Socket
from exporter.tracking import bound_ports as module
from exporter.tracking.bound_ports import BoundPortCounter

from .sockets import BOUND, CONNECTED, EPHEMERAL, LISTENERS, connection, connections, consistent, listener

ANYWHERE = (bytes(4), bytes(16))


def max_bound_ports(sockets: list[Socket], listeners: list[Listener]) -> int:
    ports = BoundPortCounter(EPHEMERAL)
    ports.add((sock.local_address, sock.local_port) for sock in [*sockets, *listeners])
    return ports.max_per_address()


def test_port_bound_to_all_addresses_counts_on_each() -> None:
    sockets = [
        *connections("10.0.0.1", 40_000, 4),
        *connections("10.0.0.2", 40_000, 2),
        connection(("0.0.0.0", 40_001), ("0.0.0.0", 0), CLOSE),
        connection(("0.0.0.0", 40_009), ("0.0.0.0", 0), CLOSE),
    ]
    listeners = [listener(("::", 40_010)), listener(("10.0.0.2", 40_011)), listener(("::", 80))]
    assert max_bound_ports(sockets, listeners) == 4 + 2


@pytest.mark.parametrize("max_sparse_ports", [1, 2_048])
@given(
    st.lists(st.tuples(st.sampled_from([b"", bytes(4), bytes(16), b"here", b"else"]), st.integers(9, 21))),
    st.frozensets(st.integers(10, 20), max_size=3),
)
def test_max_per_address_for_any_bound_and_reserved_ports(
    max_sparse_ports: int, endpoints: list[tuple[bytes, int]], reserved: frozenset[int]
) -> None:
    ephemeral = EphemeralRange(10, 20, reserved)
    ports = BoundPortCounter(ephemeral)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_MAX_SPARSE_PORTS", max_sparse_ports)
        for first in range(0, len(endpoints), 5):
            ports.add(endpoints[first : first + 5])
    wildcard_ports = {port for address, port in endpoints if not address.strip(b"\0")}
    ports_by_address = (
        {port for other, port in endpoints if other == address} | wildcard_ports for address, _ in endpoints
    )
    assert ports.max_per_address() == max(
        (len(set(filter(ephemeral.contains, ports))) for ports in ports_by_address), default=0
    )


def test_port_used_for_many_destinations_counts_once() -> None:
    sockets = [connection(("10.0.0.1", 40_000), ("10.0.0.9", port)) for port in range(5000, 5005)]
    assert max_bound_ports(sockets, []) == 1


def test_wildcard_ports_count_without_other_addresses() -> None:
    assert max_bound_ports([], [listener(("::", 40_010)), listener(("::", 80))]) == 1
    assert max_bound_ports([], []) == 0


SOCKETS = st.lists(CONNECTED | BOUND, max_size=40).map(consistent)


Owned = list[tuple[Listener, Owner]]


@given(SOCKETS, LISTENERS)
def test_max_per_address_is_the_most_distinct_ports(sockets: list[Socket], listeners: Owned) -> None:
    ports = {(row.local_address, row.local_port) for row in sockets}
    ports |= {(listener.local_address, listener.local_port) for listener, _ in listeners}
    addresses = {address for address, _ in ports} or {bytes(4)}
    expected = max(
        len(
            {
                port
                for bound_to, port in ports
                if bound_to in (address, *ANYWHERE) and EPHEMERAL.contains(port)
            }
        )
        for address in addresses
    )
    rows = [listener for listener, _ in listeners]
    assert max_bound_ports(sockets, rows) == expected
