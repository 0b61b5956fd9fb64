"""TCP sockets of Windows, from iphlpapi.dll."""

from __future__ import annotations

import time
from array import array
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Final

from ..model.sockets import (
    CLOSE,
    CLOSE_WAIT,
    HIDDEN_OWNER_KEY,
    LISTEN,
    STALE_OWNER_KEY,
    CloseWaitSocket,
    KeySpace,
    Listener,
    Socket,
    SocketBatch,
)
from ..portable.socket_list import SocketList, missing_owner_key, to_batches
from .process_table import FILETIME_PER_SECOND, FILETIME_UNIX_EPOCH, ProcessEntry
from .tcp_rows import TCP4_LAYOUT, TCP6_LAYOUT, TcpRows
from .tcp_table import BoundPort, TcpTableReader, can_list_bound_ports, read_bound_ports

# The clock that both times are from advances in steps of up to 16 ms.
_SAME_TIME: Final = FILETIME_PER_SECOND


AssignOwnerKeys = Callable[["array[int]", "array[int]", Mapping[int, ProcessEntry]], "array[int]"]


def _keep_pids(pids: array[int], _tags: array[int], _processes: Mapping[int, ProcessEntry]) -> array[int]:
    return pids


class IphlpapiSource:
    """Reads sockets through iphlpapi.dll. full_sockets() must be called first: the others return its data.

    read_processes: returns all processes by pid.
    assign_owner_keys: returns the owner key of each row from the columns of pids and of tags, and the
        processes.
    clock: returns the time in seconds since the epoch.
    """

    name: Final = "iphlpapi"
    pending_states: Final[frozenset[int]] = frozenset()

    def __init__(
        self,
        read_processes: Callable[[], Mapping[int, ProcessEntry]],
        read_tables: Sequence[Callable[[], TcpRows]] | None = None,
        read_bound: Callable[[], Iterable[BoundPort]] = read_bound_ports,
        assign_owner_keys: AssignOwnerKeys = _keep_pids,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._read_processes = read_processes
        self._assign_owner_keys = assign_owner_keys
        layouts = TCP4_LAYOUT, TCP6_LAYOUT
        self._read_tables = read_tables or [TcpTableReader(layout).read for layout in layouts]
        self._read_bound = read_bound
        self._clock = clock
        self._listeners: list[Listener] = []
        self._close_wait: list[CloseWaitSocket] = []

    @property
    def has_bound_sockets(self) -> bool:
        """Whether this Windows lists sockets that are only bound."""
        return can_list_bound_ports()

    def full_sockets(self) -> Iterator[SocketBatch]:
        """Yield all TCP sockets except listeners. Raises OSError or ValueError."""
        tables = [read() for read in self._read_tables]
        now = int(self._clock() * FILETIME_PER_SECOND) + FILETIME_UNIX_EPOCH
        bound_ports = list(self._read_bound())
        processes = self._processes()
        owners = [self._assign_owner_keys(table.pids, table.tags, processes) for table in tables]
        self._listeners = list(chain.from_iterable(map(_listeners, tables, owners)))
        self._close_wait = []
        listening_ports = {listener.local_port for listener in self._listeners}
        for table, owner_keys in zip(tables, owners, strict=True):
            owner_keys = _owner_keys(table, owner_keys, processes, listening_ports)
            for keyspace, positions in _positions_by_keyspace(table, owner_keys).items():
                if keyspace.state == CLOSE_WAIT:
                    self._close_wait += _close_wait_sockets(table, positions, owner_keys, now)
                yield _batch(table, keyspace, positions, owner_keys)
        yield from to_batches(_only_bound(tables, bound_ports))

    def probe(self) -> None:
        """Raise OSError or ValueError if the tables cannot be read."""
        for read in self._read_tables:
            read()

    def minisocks(self) -> Iterator[SocketBatch]:
        """Return no sockets: full_sockets() returns all."""
        return iter(())

    def listeners(self) -> list[Listener]:
        """Return the listening TCP sockets, without queue lengths."""
        return self._listeners

    def close_wait_sockets(self) -> list[CloseWaitSocket]:
        """Return the connections in CLOSE_WAIT, without queues; their only time is that of their creation."""
        return self._close_wait

    def _processes(self) -> Mapping[int, ProcessEntry]:
        """Return the processes by pid; none if they are unreadable: resolving the owners then reports it."""
        try:
            return self._read_processes()
        except OSError:
            return {}


def _listeners(table: TcpRows, owner_keys: Sequence[int]) -> list[Listener]:
    positions = [position for position, state in enumerate(table.states) if state == LISTEN]
    return [
        Listener(sock.local_address, sock.local_port, sock.owner_key or HIDDEN_OWNER_KEY, None, None)
        for sock in table.sockets(positions, owner_keys)
    ]


def _close_wait_sockets(
    table: TcpRows, positions: Sequence[int], owner_keys: array[int], now: int
) -> list[CloseWaitSocket]:
    """Return these rows. now: FILETIME. The time since a creation in the future is unknown.

    Windows takes creation times from the wall clock: where it was set since then, the times are wrong by the
    difference.
    """
    opened = [
        (now - created) / FILETIME_PER_SECOND if 0 < created <= now else None
        for created in map(table.created.__getitem__, positions)
    ]
    return [
        CloseWaitSocket(sock, None, None, None, None, None, None, mptcp=False, seconds_since_opened=seconds)
        for sock, seconds in zip(table.sockets(positions, owner_keys), opened, strict=True)
    ]


def _owner_keys(
    table: TcpRows,
    owner_keys: array[int],
    processes: Mapping[int, ProcessEntry],
    listening_ports: set[int],
) -> array[int]:
    """Return the owner keys, replaced where there is no process or it is younger than the socket."""
    started = {pid: process.created for pid, process in processes.items()}
    keys = array("I", owner_keys)
    for position, (pid, created) in enumerate(zip(table.pids, table.created, strict=True)):
        if created and started.get(pid, 0) > created + _SAME_TIME:
            keys[position] = STALE_OWNER_KEY
        elif not pid:
            state, port = table.states[position], table.local_ports[position]
            keys[position] = missing_owner_key(state, port, listening_ports)
    return keys


def _positions_by_keyspace(table: TcpRows, owner_keys: Sequence[int]) -> dict[KeySpace, list[int]]:
    """Return the positions of the rows of each key space, listeners excluded."""
    positions: defaultdict[tuple[int, bool], list[int]] = defaultdict(list)
    for position, code in enumerate(zip(table.states, map(bool, owner_keys), strict=True)):
        positions[code].append(position)
    return {KeySpace(*code): rows for code, rows in positions.items() if code[0] != LISTEN}


def _batch(table: TcpRows, keyspace: KeySpace, positions: list[int], owner_keys: array[int]) -> SocketBatch:
    def select(selected: Sequence[int]) -> SocketList:
        return SocketList(table.sockets([positions[position] for position in selected], owner_keys))

    def local_endpoints(min_port: int, max_port: int) -> list[tuple[bytes, int]]:
        return select(range(len(positions))).local_endpoints(min_port, max_port)

    keys = [table.keys[position] for position in positions]
    column = array("I", [owner_keys[position] for position in positions]).tobytes()
    return SocketBatch(keyspace, keys, column, select, local_endpoints)


def _only_bound(tables: Iterable[TcpRows], bound_ports: Iterable[BoundPort]) -> Iterator[Socket]:
    """Yield the sockets that are bound to a port, and neither listen nor are connected."""
    used = set(chain.from_iterable(zip(table.local_ports, table.pids, strict=True) for table in tables))
    for bound in bound_ports:
        if (bound.local_port, bound.pid) not in used:
            yield Socket(CLOSE, bound.local_address, bound.local_port, b"", 0, bound.pid, 0)
