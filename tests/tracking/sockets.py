"""Sockets, processes and listeners for the tests of tracking/."""

from __future__ import annotations

from collections.abc import Iterable
from socket import AF_INET, AF_INET6, inet_pton
from typing import Final

from hypothesis import strategies as st

from exporter.model.host import EphemeralRange
from exporter.model.process import Owner, ProcessId, Unowned
from exporter.model.sockets import CLOSE, ESTABLISHED, LISTEN, STATE_NAMES, Listener, Socket
from exporter.tracking.listeners import ListenerTable

SERVER: Final = ProcessId(10, 1.0)
WORKER: Final = ProcessId(11, 1.0)
CLIENT: Final = ProcessId(20, 2.0)
OTHER_CLIENT: Final = ProcessId(21, 3.0)

OWNERS_BY_KEY: Final[dict[int, Owner]] = {100: SERVER, 101: WORKER, 200: CLIENT, 201: OTHER_CLIENT}
"""Owner key -> owner; the owner of any other key is not found."""

EPHEMERAL: Final = EphemeralRange(40_000, 49_999, frozenset({40_500}))

Endpoint = tuple[str, int]
"""An address and a port."""


def ip(text: str) -> bytes:
    return inet_pton(AF_INET6 if ":" in text else AF_INET, text)


def owner_of(owner_key: int) -> Owner:
    return OWNERS_BY_KEY.get(owner_key, Unowned.NOT_FOUND if owner_key else Unowned.RELEASED)


def listener(endpoint: Endpoint) -> Listener:
    return Listener(ip(endpoint[0]), endpoint[1], 1, 0, 128)


def listening(*owned: tuple[Endpoint, Owner]) -> ListenerTable:
    """Return a table of these listeners."""
    table = ListenerTable()
    table.update([(listener(endpoint), owner) for endpoint, owner in owned])
    return table


def inbound(state: int = ESTABLISHED, owner_key: int = 100, cookie: int = 7) -> Socket:
    """Return a connection to 10.0.0.1:80."""
    return connection(("10.0.0.1", 80), ("10.0.0.2", 50_000), state, owner_key, cookie)


def outbound(
    state: int = ESTABLISHED, owner_key: int = 200, port: int = 40_001, to: Endpoint = ("10.0.0.9", 443)
) -> Socket:
    """Return a connection from an ephemeral port of 10.0.0.1, whose cookie is that port."""
    return connection(("10.0.0.1", port), to, state, owner_key, port)


def connection(
    local: Endpoint, remote: Endpoint, state: int = ESTABLISHED, owner_key: int = 1, cookie: int = 7
) -> Socket:
    return Socket(state, ip(local[0]), local[1], ip(remote[0]), remote[1], owner_key, cookie)


def connections(
    source: str, first: int, count: int, to: Endpoint = ("10.0.0.9", 5432), state: int = ESTABLISHED
) -> list[Socket]:
    """Return connections from `count` consecutive ports of one address."""
    return [connection((source, port), to, state, 200, port) for port in range(first, first + count)]


ADDRESSES: Final = st.sampled_from(list(map(ip, ["10.0.0.1", "10.0.0.2", "127.0.0.1", "::1", "fe80::1"])))
PORTS: Final = st.sampled_from([22, 80, 443, 40_000, 40_001, 40_002, 40_500, 49_999, 50_000])
CONNECTED: Final = st.builds(
    Socket,
    st.sampled_from(sorted(STATE_NAMES.keys() - {CLOSE, LISTEN})),
    ADDRESSES,
    PORTS,
    ADDRESSES,
    PORTS,
    st.sampled_from([0, 999, *OWNERS_BY_KEY]),
    st.integers(1, 200),
)
BOUND: Final = st.builds(
    Socket,
    st.just(CLOSE),
    ADDRESSES | st.sampled_from([bytes(4), bytes(16)]),
    PORTS,
    st.just(bytes(4)),
    st.just(0),
    st.sampled_from([999, *OWNERS_BY_KEY]),
    st.integers(1, 200),
)
LISTENERS: Final = st.lists(
    st.tuples(
        st.builds(
            Listener,
            ADDRESSES | st.sampled_from([bytes(4), bytes(16)]),
            PORTS,
            st.just(1),
            st.just(0),
            st.just(1),
        ),
        st.sampled_from([SERVER, WORKER, Unowned.NOT_FOUND]),
    ),
    max_size=6,
)


def consistent(sockets: Iterable[Socket]) -> list[Socket]:
    """Return sockets that can exist together: endpoints of connections and cookies are unique."""
    by_endpoints = {(row[1:5] if row.state != CLOSE else row): row for row in sockets}
    return list({row.cookie: row for row in by_endpoints.values()}.values())
