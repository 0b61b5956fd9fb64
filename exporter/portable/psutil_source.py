"""TCP sockets as psutil reports them: Windows, macOS, BSD, and Linux if netlink is refused.

psutil.net_connections: https://psutil.readthedocs.io/latest/#psutil.net_connections. The owner key of a
socket is its pid; there are no cookies, no queue lengths and, on Linux, no bound-only sockets.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Set
from operator import attrgetter
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
    SYN_RECV,
    SYN_SENT,
    TIME_WAIT,
    CloseWaitSocket,
    Listener,
    Socket,
    SocketBatch,
)
from .shared_sockets import LowestHolders
from .socket_list import missing_owner_key, to_batches, without_queues

PSUTIL_STATES: Final[dict[str, int]] = {
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
    # Windows: the connection is closed, its control block is about to be freed.
    "DELETE_TCB": CLOSE,
    # Solaris: sockets without a connection.
    "IDLE": CLOSE,
    "BOUND": CLOSE,
    # States unknown to psutil; on macOS and BSD also closed sockets.
    psutil.CONN_NONE: CLOSE,
}
"""psutil's status -> state. psutil uses Linux' names on all systems."""


class PsutilSource:
    """Reads sockets through psutil. full_sockets() must be called first: the others return its data."""

    name: Final = "psutil"
    has_bound_sockets: Final = sys.platform not in ("linux", "win32")
    pending_states: Final[frozenset[int]] = frozenset()

    def __init__(self, procfs: Path = Path("/proc")) -> None:
        # A global variable of psutil, which uses it on Linux only.
        psutil.PROCFS_PATH = str(procfs)
        self._holders = LowestHolders(procfs) if sys.platform == "linux" else None
        self._listeners: list[Listener] = []
        self._sockets: list[Socket] = []

    def full_sockets(self) -> Iterator[SocketBatch]:
        """Yield all TCP sockets except listeners. Raises psutil.Error or OSError."""
        connections = self._with_lowest_pids(psutil.net_connections("tcp"))
        self._listeners = [_to_listener(c) for c in connections if PSUTIL_STATES[c.status] == LISTEN]
        listening_ports = {listener.local_port for listener in self._listeners}
        self._sockets = [
            _to_socket(c, listening_ports) for c in connections if PSUTIL_STATES[c.status] != LISTEN
        ]
        yield from to_batches(self._sockets)

    def _with_lowest_pids(self, connections: list[Any]) -> list[Any]:
        """Return each connection once, with the lowest pid of the processes that share it.

        On Linux psutil returns one of them, on macOS and BSD all, each as a connection of its own. Listeners
        are kept as they are there: twins with SO_REUSEPORT look like shared ones.
        """
        if self._holders:
            self._holders.refresh()
            find = self._holders.find
            return [c._replace(pid=find(c.pid, c.fd)) if c.pid else c for c in connections]
        lowest: dict[object, Any] = {}
        others = []
        for connection in connections:
            if connection.pid and connection.raddr:
                key = connection.status, connection.laddr, connection.raddr
                lowest[key] = min(connection, lowest.get(key, connection), key=attrgetter("pid"))
            else:
                others.append(connection)
        return [*lowest.values(), *others]

    def minisocks(self) -> Iterator[SocketBatch]:
        """Return no sockets: full_sockets() returns all."""
        return iter(())

    def listeners(self) -> list[Listener]:
        """Return the listening TCP sockets, without queue lengths."""
        return self._listeners

    def close_wait_sockets(self) -> list[CloseWaitSocket]:
        """Return the connections in CLOSE_WAIT, without queues and times."""
        return without_queues(self._sockets)


def _to_socket(connection: Any, listening_ports: Set[int]) -> Socket:
    local_address, local_port = _to_endpoint(connection.laddr)
    remote_address, remote_port = _to_endpoint(connection.raddr)
    state = PSUTIL_STATES[connection.status]
    # Windows assigns sockets in TIME_WAIT to pid 0, the idle process, which is not the owner.
    owner_key = connection.pid or missing_owner_key(state, local_port, listening_ports)
    return Socket(state, local_address, local_port, remote_address, remote_port, owner_key, 0)


def _to_listener(connection: Any) -> Listener:
    local_address, local_port = _to_endpoint(connection.laddr)
    return Listener(local_address, local_port, connection.pid or HIDDEN_OWNER_KEY, None, None)


def _to_endpoint(endpoint: Any) -> tuple[bytes, int]:
    if not endpoint:
        return b"", 0
    return parse_address(endpoint.ip), endpoint.port
