"""Decoded sockets, for sources whose kernel returns no columns, and rules that these sources share."""

from __future__ import annotations

import array
from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator, Sequence, Set
from itertools import chain
from typing import Final

from ..model.sockets import (
    CLOSE_WAIT,
    ESTABLISHED,
    HIDDEN_OWNER_KEY,
    NO_OWNER_KEY,
    SYN_SENT,
    CloseWaitSocket,
    KeySpace,
    Socket,
    SocketBatch,
)

_OWNED_STATES: Final = frozenset({ESTABLISHED, SYN_SENT, CLOSE_WAIT})
"""States in which a socket has an owner, unless it is in an accept queue."""


def missing_owner_key(state: int, local_port: int, listening_ports: Set[int]) -> int:
    """Return the owner key of a socket for which the system reports no pid.

    It reports none for processes of other users, nor for connections in accept queues, which get the owner of
    their listener.
    """
    owned = state in _OWNED_STATES and local_port not in listening_ports
    return HIDDEN_OWNER_KEY if owned else NO_OWNER_KEY


def without_queues(sockets: Iterable[Socket]) -> list[CloseWaitSocket]:
    """Return those of the sockets that are in CLOSE_WAIT, without queues and times."""
    return [
        CloseWaitSocket(sock, None, None, None, None, None, None, mptcp=False)
        for sock in sockets
        if sock.state == CLOSE_WAIT
    ]


def to_batches(sockets: Iterable[Socket]) -> Iterator[SocketBatch]:
    """Yield a batch for each state. The keys are the sockets themselves, since there are no cookies."""
    by_state: defaultdict[int, SocketList] = defaultdict(SocketList)
    for sock in sockets:
        by_state[sock.state].append(sock)
    for state, table in by_state.items():
        owner_key_column = array.array("I", table.owner_keys()).tobytes()
        yield SocketBatch(KeySpace(state), table, owner_key_column, table.select, table.local_endpoints)


class SocketList(list[Socket]):
    """SocketTable of decoded sockets."""

    def select(self, positions: Sequence[int]) -> SocketList:
        return SocketList([self[position] for position in positions])

    def concat(self, others: Iterable[SocketList]) -> SocketList:
        return SocketList(chain(self, *others))

    def local_ports(self) -> list[int]:
        return [sock.local_port for sock in self]

    def remote_ports(self) -> list[int]:
        return [sock.remote_port for sock in self]

    def owner_keys(self) -> list[int]:
        return [sock.owner_key for sock in self]

    def cookies(self) -> list[int]:
        return [sock.cookie for sock in self]

    def inbound_signatures(self) -> list[Hashable]:
        return [(sock.state, sock.local_address, sock.local_port) for sock in self]

    def outbound_signatures(self) -> list[Hashable]:
        return [
            (sock.state, sock.local_address, sock.remote_address, sock.remote_port)
            if sock.remote_port
            else None
            for sock in self
        ]

    def local_endpoints(self, min_port: int, max_port: int) -> list[tuple[bytes, int]]:
        return [
            (sock.local_address, sock.local_port) for sock in self if min_port <= sock.local_port <= max_port
        ]
