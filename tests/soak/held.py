"""Counts the sockets that a process of the soak test has open, by their states.

The exporter is compared with these counts, and they do not come from where it reads, a dump and /proc: the
process itself calls getsockopt() for each of its sockets.
"""

from __future__ import annotations

import socket
from collections import Counter
from collections.abc import Iterable, Set
from typing import Final

ESTABLISHED: Final = 1
CLOSE: Final = 7

LOST: Final = "dead, lost"
UNKNOWN: Final = "dead, unknown"
"""Dead file descriptors, whose sockets are in no table of the kernel. Lost: a scrape saw their connection."""

DEAD: Final = frozenset({LOST, UNKNOWN})

_FIRST_EPHEMERAL_PORT: Final = 32_768

_STATES: Final = {
    ESTABLISHED: "established",
    2: "syn_sent",
    3: "syn_recv",
    4: "fin_wait1",
    5: "fin_wait2",
    8: "close_wait",
    9: "last_ack",
    10: "listen",
    11: "closing",
}
"""TCP state (include/net/tcp_states.h) -> value of the label `state`."""


def state_of(sock: socket.socket) -> int:
    """Return the TCP state of a socket: tcpi_state, the first byte of struct tcp_info."""
    return sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]


def count_states(
    sockets: Iterable[socket.socket], observed: Set[socket.socket] = frozenset()
) -> Counter[str]:
    """Return the number of these sockets by state and port, as key_of() writes it, or as dead ones.

    observed: the sockets that had a connection during a scrape.
    """
    counts: Counter[str] = Counter()
    for sock in sockets:
        state = _STATES.get(state_of(sock))
        if state is None:
            counts[LOST if sock in observed else UNKNOWN] += 1
        else:
            counts[key_of(state, _port_label(sock, state))] += 1
    return counts


def key_of(state: str, port: str) -> str:
    """Return the key under which sockets are counted. port: value of the label `remote_port`."""
    return f"{state}, {port}"


def _port_label(sock: socket.socket, state: str) -> str:
    if state == "listen":
        return "none"
    try:
        is_service = sock.getsockname()[1] < _FIRST_EPHEMERAL_PORT
        return "inbound" if is_service else str(sock.getpeername()[1])
    except OSError:  # the connection has been reset since its state was read
        return "reset"
