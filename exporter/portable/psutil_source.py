"""The sockets as psutil sees them: Windows, macOS, BSD, and Linux where netlink is refused.

psutil.net_connections: https://psutil.readthedocs.io/latest/#psutil.net_connections. Here the holder
of a socket is its pid; there are no cookies, no queue figures and, on Linux, no bound-only sockets.
"""

from __future__ import annotations

import array
from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator, Sequence, Set
from itertools import chain
from pathlib import Path
from typing import Any, Final

import psutil

from ..model.address import parse_address
from ..model.sockets import (
    CLOSE,
    CLOSE_WAIT,
    CLOSING,
    ESTABLISHED,
    FIN_WAIT1,
    FIN_WAIT2,
    HIDDEN_OWNER_KEY,
    LAST_ACK,
    LISTEN,
    NO_OWNER_KEY,
    SYN_RECV,
    SYN_SENT,
    TIME_WAIT,
    CloseWaitSocket,
    KeySpace,
    Listener,
    Socket,
    SocketBatch,
)

STATES: Final[dict[str, int]] = {
    psutil.CONN_ESTABLISHED: ESTABLISHED,
    psutil.CONN_SYN_SENT: SYN_SENT,
    psutil.CONN_SYN_RECV: SYN_RECV,
    psutil.CONN_FIN_WAIT1: FIN_WAIT1,
    psutil.CONN_FIN_WAIT2: FIN_WAIT2,
    psutil.CONN_TIME_WAIT: TIME_WAIT,
    psutil.CONN_CLOSE: CLOSE,
    psutil.CONN_CLOSE_WAIT: CLOSE_WAIT,
    psutil.CONN_LAST_ACK: LAST_ACK,
    psutil.CONN_LISTEN: LISTEN,
    psutil.CONN_CLOSING: CLOSING,
    # Windows' DELETE_TCB: the connection is gone, its block is about to be freed.
    "DELETE_TCB": CLOSE,
    # Solaris', of sockets without a connection.
    "IDLE": CLOSE,
    "BOUND": CLOSE,
    # What psutil says of a number it does not know; on macOS and BSD also of a closed socket.
    psutil.CONN_NONE: CLOSE,
}
"""psutil's status -> our number. The names psutil uses are Linux' own, on every system."""

_HELD: Final = frozenset({ESTABLISHED, SYN_SENT, CLOSE_WAIT})
"""What somebody holds, unless it waits for accept()."""


class PsutilSource:
    """Reads psutil. Ask for sockets() first, then for listeners(): both come from one look."""

    name: Final = "psutil"
    pending_states: Final[frozenset[int]] = frozenset()

    def __init__(self, procfs: Path = Path("/proc")) -> None:
        # psutil has one for all who use it; read on Linux only.
        psutil.PROCFS_PATH = str(procfs)
        self._listeners: list[Listener] = []
        self._sockets: list[Socket] = []

    def full_sockets(self) -> Iterator[SocketBatch]:
        """All TCP sockets but listeners. Raises psutil.Error or OSError."""
        connections = psutil.net_connections("tcp")
        self._listeners = [_listener(c) for c in connections if STATES[c.status] == LISTEN]
        listened_on = {listener.local_port for listener in self._listeners}
        self._sockets = [_socket(c, listened_on) for c in connections if STATES[c.status] != LISTEN]
        yield from batches(self._sockets)

    def minisocks(self) -> Iterator[SocketBatch]:
        """Nothing more."""
        return iter(())

    def listeners(self) -> list[Listener]:
        """The listening TCP sockets of the last look, without queue figures."""
        return self._listeners

    def close_wait_sockets(self) -> list[CloseWaitSocket]:
        """The connections in CLOSE_WAIT of the last look, without queues and ages."""
        return without_details(self._sockets)


def batches(sockets: Iterable[Socket]) -> Iterator[SocketBatch]:
    """Sockets as Batches: without a cookie, the whole row is what tells a socket apart."""
    by_state: defaultdict[int, SocketRows] = defaultdict(SocketRows)
    for one in sockets:
        by_state[one.state].append(one)
    for state, some in by_state.items():
        owner_keys = array.array("I", some.owner_keys()).tobytes()
        yield SocketBatch(KeySpace(state), some, owner_keys, some.select, some.local_endpoints)


class SocketRows(list[Socket]):
    """Sockets as they are."""

    def select(self, positions: Sequence[int]) -> SocketRows:
        return SocketRows([self[position] for position in positions])

    def concat(self, others: Iterable[SocketRows]) -> SocketRows:
        return SocketRows(chain(self, *others))

    def local_ports(self) -> list[int]:
        return [row.local_port for row in self]

    def owner_keys(self) -> list[int]:
        return [row.owner_key for row in self]

    def cookies(self) -> list[int]:
        return [row.cookie for row in self]

    def inbound_signatures(self) -> list[Hashable]:
        return [(row.state, row.local_address, row.local_port) for row in self]

    def outbound_signatures(self) -> list[Hashable]:
        return [
            (row.state, row.local_address, row.remote_address, row.remote_port) if row.remote_port else None
            for row in self
        ]

    def local_endpoints(self, first: int, last: int) -> list[tuple[bytes, int]]:
        return [(row.local_address, row.local_port) for row in self if first <= row.local_port <= last]


def _socket(connection: Any, listened_on: Set[int]) -> Socket:
    local_address, local_port = _endpoint(connection.laddr)
    remote_address, remote_port = _endpoint(connection.raddr)
    state = STATES[connection.status]
    # Of others' processes psutil gives none, as of connections that wait for accept(): of those, the
    # listener tells whether it may be seen.
    nobody = HIDDEN_OWNER_KEY if state in _HELD and local_port not in listened_on else NO_OWNER_KEY
    # Windows gives sockets in TIME_WAIT to pid 0, the idle process: nobody, that is.
    owner_key = connection.pid or nobody
    return Socket(state, local_address, local_port, remote_address, remote_port, owner_key, 0)


def _listener(connection: Any) -> Listener:
    local_address, local_port = _endpoint(connection.laddr)
    return Listener(local_address, local_port, connection.pid or HIDDEN_OWNER_KEY, None, None)


def _endpoint(endpoint: Any) -> tuple[bytes, int]:
    if not endpoint:
        return b"", 0
    return parse_address(endpoint.ip), endpoint.port


def without_details(sockets: Iterable[Socket]) -> list[CloseWaitSocket]:
    """Those of the sockets that are in CLOSE_WAIT, for sources that know neither queues nor ages."""
    return [
        CloseWaitSocket(one, None, None, None, None, None, mptcp=False)
        for one in sockets
        if one.state == CLOSE_WAIT
    ]
