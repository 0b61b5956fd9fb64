"""Classify sockets one at a time or through a sequence of states."""

from __future__ import annotations

from collections.abc import Iterator

from hypothesis import strategies as st

from exporter.model.groups import AddressPair, Direction, SocketGroup
from exporter.model.process import Owner, ProcessId, Unowned
from exporter.model.sockets import CLOSE, ESTABLISHED, LISTEN, STATE_NAMES, TIME_WAIT, Listener, Socket
from exporter.tracking.classifier import Classifier
from exporter.tracking.destinations import DestinationOwners
from exporter.tracking.listeners import ListenerTable

from .sockets import (
    CLIENT,
    EPHEMERAL,
    OWNERS_BY_KEY,
    SERVER,
    WORKER,
    connection,
    inbound,
    ip,
    listener,
    listening,
    outbound,
    owner_of,
)

HTTP = listening((("0.0.0.0", 80), SERVER))
NO_LISTENERS = listening()
TO_443 = AddressPair(ip("10.0.0.1"), ip("10.0.0.9"), ephemeral=True)

WAS_INBOUND = SocketGroup(ESTABLISHED, SERVER, Direction.INBOUND, 80)
WAS_OUTBOUND = SocketGroup(ESTABLISHED, CLIENT, Direction.OUTBOUND, 443, TO_443)


def connected(*owners: ProcessId) -> DestinationOwners:
    """Return these owners as connected to the destination of outbound(), where they open connections."""
    destinations = DestinationOwners()
    groups = [WAS_OUTBOUND._replace(owner=owner) for owner in owners]
    for opened, now in (set[SocketGroup](), 0.0), (set(groups), 15.0):
        destinations.update(groups, opened, lambda owner: f"{owner.pid}", now)
    return destinations


def classify(
    socket: Socket,
    listeners: ListenerTable = NO_LISTENERS,
    previous: SocketGroup | None = None,
    destinations: DestinationOwners | None = None,
) -> SocketGroup:
    return Classifier(listeners, destinations or DestinationOwners(), owner_of, EPHEMERAL)(socket, previous)


LISTENERS_ON_USED_PORTS = st.lists(
    st.tuples(
        st.sampled_from(
            [listener((address, port)) for address in ("::", "10.0.0.1") for port in (80, 40_001)]
        ),
        st.sampled_from([SERVER, WORKER, Unowned.NOT_FOUND]),
    ),
    max_size=2,
)
STATES = st.sampled_from([*STATE_NAMES.keys() - {CLOSE, LISTEN}, TIME_WAIT])
CONNECTION_STATES = st.tuples(
    st.sampled_from([inbound(), outbound(), connection(("10.0.0.1", 80), ("10.0.0.9", 443))]),
    st.lists(
        st.tuples(
            STATES,
            st.sampled_from([0, 999, *OWNERS_BY_KEY]),
            LISTENERS_ON_USED_PORTS,
        ),
        min_size=1,
        max_size=8,
    ),
)
ConnectionStates = tuple[Socket, list[tuple[int, int, list[tuple[Listener, Owner]]]]]


def classify_states(states: ConnectionStates) -> Iterator[SocketGroup]:
    """Yield the groups of a connection that changes its state, while listeners come and go."""
    socket, steps = states
    table, destinations, previous = ListenerTable(), connected(CLIENT), None
    for state, owner_key, present in steps:
        table.update(present)
        previous = classify(socket._replace(state=state, owner_key=owner_key), table, previous, destinations)
        yield previous
