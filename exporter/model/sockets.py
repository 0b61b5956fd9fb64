"""Sockets as the sources return them: single sockets, tables and batches."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, NamedTuple, Protocol, TypeVar, cast

ESTABLISHED: Final = 1
SYN_SENT: Final = 2
SYN_RECV: Final = 3
FIN_WAIT1: Final = 4
FIN_WAIT2: Final = 5
TIME_WAIT: Final = 6
CLOSE: Final = 7
CLOSE_WAIT: Final = 8
LAST_ACK: Final = 9
LISTEN: Final = 10
CLOSING: Final = 11

STATE_NAMES: Final[dict[int, str]] = {
    ESTABLISHED: "established",
    SYN_SENT: "syn_sent",
    SYN_RECV: "syn_recv",
    FIN_WAIT1: "fin_wait1",
    FIN_WAIT2: "fin_wait2",
    TIME_WAIT: "time_wait",
    CLOSE: "close",
    CLOSE_WAIT: "close_wait",
    LAST_ACK: "last_ack",
    LISTEN: "listen",
    CLOSING: "closing",
}
"""Number of each TCP state in Linux (include/net/tcp_states.h) -> value of the label `state`."""

NO_OWNER_KEY: Final = 0
"""Owner key of a socket that no process has open: not accepted yet, orphaned, or in TIME_WAIT."""

HIDDEN_OWNER_KEY: Final = 0xFFFFFFFF
"""Owner key of a socket whose process the source has no permission to see."""

STALE_OWNER_KEY: Final = 0xFFFFFFFE
"""Owner key of a socket that is older than the process with its pid: the pid was reused."""

SocketKey = Hashable
"""Identity of one socket in one state, within a key space. If two collections contain an equal key, nothing
that is exported about that socket has changed, except its queues. Opaque to every module but the source."""

_Row = TypeVar("_Row", bound=tuple[object, ...])


class KeySpace(NamedTuple):
    """Sockets whose keys are unique among themselves: those of one state, with or without an owner."""

    state: int
    owned: bool = True
    """False if none of the sockets has an owner; a socket that gets one keeps its key."""


class Socket(NamedTuple):
    """One TCP socket that is not listening."""

    state: int
    local_address: bytes
    """4 or 16 bytes; IPv4-mapped addresses (`::ffff:a.b.c.d`) are 4."""
    local_port: int
    remote_address: bytes
    remote_port: int
    owner_key: int
    """Key by which the owner is looked up: the socket's inode (netlink), a pid (psutil and iphlpapi), a
    number for a pid and a service (iphlpapi), NO_OWNER_KEY, HIDDEN_OWNER_KEY or STALE_OWNER_KEY."""
    cookie: int
    """Identity of the socket in all states: the kernel's SO_COOKIE (netlink), or a number made of addresses,
    ports and creation time (iphlpapi). 0 if the source has none."""


class Listener(NamedTuple):
    """One listening TCP socket."""

    local_address: bytes
    local_port: int
    owner_key: int
    queue_length: int | None
    """Number of connections in the accept queue; None if the source does not report it."""
    queue_limit: int | None
    """Maximum length of the accept queue; None if the source does not report it."""


class SocketTable(Protocol):
    """Columnar table of sockets. Iterating over it decodes the rows."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[Socket]: ...

    def select(self, positions: Sequence[int]) -> SocketTable:
        """Return the sockets at these positions."""

    def concat(self, others: Iterable[Any]) -> SocketTable:
        """Return one table of these sockets and those of `others`, which are tables of the same class."""

    def local_ports(self) -> Sequence[int]: ...

    def remote_ports(self) -> Sequence[int]:
        """Return the remote ports; 0 for sockets without a remote end."""

    def owner_keys(self) -> Sequence[int]: ...

    def cookies(self) -> Sequence[int]: ...

    def inbound_signatures(self) -> Iterable[Hashable]:
        """Return what determines the group of an inbound socket: state, local address and local port."""

    def outbound_signatures(self) -> Iterable[Hashable]:
        """Return what determines the group of an outbound socket: state, both addresses and the remote port.

        None for a socket without a remote end, whose group also depends on the local port.
        """

    def local_endpoints(self, min_port: int, max_port: int) -> Iterable[tuple[bytes, int]]:
        """Return local address and port of the sockets with a local port in this range (inclusive)."""


@dataclass(frozen=True, slots=True)
class SocketBatch:
    """Sockets of one key space from one dump, as columns: counting a known socket does not decode it."""

    keyspace: KeySpace
    keys: Sequence[SocketKey]
    """One key for each socket; the cookie if the source has cookies."""
    owner_key_column: bytes
    """Owner keys as unsigned 32 bit integers in native order. One batch of a dump may have those of others
    as well, whose own column is then empty."""
    select: Callable[[Sequence[int]], SocketTable]
    """Return the sockets at these positions, like SocketTable.select()."""
    local_endpoints: Callable[[int, int], Iterable[tuple[bytes, int]]]
    """Return the same as SocketTable.local_endpoints()."""
    nonempty_queues: Sequence[tuple[SocketKey, int, int]] = ()
    """(key, receive queue, send queue), in bytes, of the sockets where one of the queues is not empty."""


class CloseWaitSocket(NamedTuple):
    """One socket in CLOSE_WAIT: the peer has closed the connection, the local process has not.

    None means that the source does not report the value.
    """

    socket: Socket
    receive_queue_bytes: int | None
    """Unread bytes, of which the FIN counts as one. MPTCP: memory of the unread data, without the FIN."""
    send_queue_bytes: int | None
    """Bytes that the peer has not acknowledged."""
    timer: int | None
    """idiag_timer: 0 none, 1 retransmission, 2 keepalive, 4 zero window probe. MPTCP: always 0."""
    seconds_since_ack: float | None
    """Seconds since the last ACK was received: lower bound of the time in CLOSE_WAIT."""
    seconds_since_data: float | None
    """Seconds since the last data was received: upper bound of the time in CLOSE_WAIT."""
    seconds_since_sent: float | None
    """Seconds since data was last sent, retransmissions included; since the connection was established if
    none was. The true value may be lower: see netlink/tcp_info.py."""
    mptcp: bool
    """Whether the connection is MPTCP. Unless it fell back to TCP, its subflows stay in ESTABLISHED, and only
    the MPTCP socket is in CLOSE_WAIT."""
    seconds_since_opened: float | None = None
    """Seconds since the connection was made, by the wall clock: upper bound of the time in CLOSE_WAIT."""


def fast_maker(cls: type[_Row]) -> Callable[[tuple[object, ...]], _Row]:
    """Return a function that makes a named tuple of this class from a tuple of all its fields.

    Takes three quarters of the time of _make() (collections.namedtuple): the function runs no Python code and
    does not check the number of fields.
    """
    return cast(Callable[[tuple[object, ...]], _Row], partial(tuple.__new__, cls))
