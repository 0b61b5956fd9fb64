"""Sockets as the sources give them."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, Protocol

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
"""The eleven TCP states: Linux' number (include/net/tcp_states.h) -> the label exported."""

NO_HOLDER: Final = 0
"""The holder of a socket that no process holds: not accepted yet, an orphan, or in TIME_WAIT."""

UNSEEN_HOLDER: Final = 0xFFFFFFFF
"""The holder of a socket that somebody holds, but the source may not see who."""

Key = Hashable
"""What tells one socket in one situation apart: an equal key of the same kind in a later reading means
that nothing we report about that socket has changed. Opaque to everyone but the source."""


class Kind(NamedTuple):
    """What sockets whose Keys are told apart among themselves have in common: their state, and whether a
    process holds them. False only where nobody holds any of them, and the Keys do not say so."""

    state: int
    held: bool = True


class Socket(NamedTuple):
    """One TCP socket that is not listening. Addresses are 4 or 16 bytes, `::ffff:` mapped ones 4.

    `holder` is what the source knows of who holds it: the socket's inode (netlink), the pid
    (psutil), or NO_HOLDER. `cookie` is the kernel's SO_COOKIE, 0 where the source has none.
    """

    state: int
    local_address: bytes
    local_port: int
    remote_address: bytes
    remote_port: int
    holder: int
    cookie: int


class Listener(NamedTuple):
    """One listening TCP socket. The queue figures are None where the source cannot tell."""

    local_address: bytes
    local_port: int
    holder: int
    queue_length: int | None
    queue_limit: int | None


class Rows(Protocol):
    """Sockets in a compact form: made into Sockets at each iteration, or looked at as columns."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[Socket]: ...

    def pick(self, positions: Sequence[int]) -> Rows:
        """The sockets at these positions."""

    def with_others(self, others: Iterable[Any]) -> Rows:
        """These and then the others, which are of the same kind."""

    def local_ports(self) -> Sequence[int]: ...

    def holders(self) -> Sequence[int]: ...

    def cookies(self) -> Sequence[int]: ...

    def accepted(self) -> Iterable[Hashable]:
        """What tells those apart that a local listener has accepted: state, local address and port."""

    def calling(self) -> Iterable[Hashable]:
        """What tells all others apart, but for the local port: state, addresses and remote port. None
        where more does."""

    def local_ends(self, first: int, last: int) -> Iterable[tuple[bytes, int]]:
        """The local addresses and ports of those whose port is from the first to the last."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Some sockets of one kind from one reading, as columns: built so that a warm scrape touches no row.

    keys: one Key for each socket; the cookies of those that have one.
    holders: the holder column, unsigned 32 bits each in native order, 0 where nobody holds one; it may be
        found at another batch that was read at the same time.
    take: position numbers -> the Rows there.
    local_ends: as of Rows, of all of them.
    """

    kind: Kind
    keys: Sequence[Key]
    holders: bytes
    take: Callable[[Sequence[int]], Rows]
    local_ends: Callable[[int, int], Iterable[tuple[bytes, int]]]
    queued: Sequence[tuple[Key, int, int]] = ()
    """(key, unread bytes, unacknowledged bytes) of the sockets where either is not zero."""


class HalfClosed(NamedTuple):
    """One socket in CLOSE_WAIT: the peer has closed its end, the local program has not. What the
    source cannot tell is None."""

    socket: Socket
    receive_queue: int | None
    """Bytes to be read, the FIN counting as one; of MPTCP the memory they take, without the FIN."""
    send_queue: int | None
    """Bytes that the peer has not acknowledged."""
    timer: int | None
    """idiag_timer: 0 none, 1 retransmission, 2 our own keepalive, 4 zero window probe. MPTCP: always 0."""
    since_ack: float | None
    """Seconds since the last ACK came: a lower bound of the time in CLOSE_WAIT."""
    since_data: float | None
    """Seconds since the last data came: an upper bound of the time in CLOSE_WAIT."""
    mptcp: bool
    """Whether it is an MPTCP connection. All but those that fell back to TCP have subflows that stay
    ESTABLISHED: they are in CLOSE_WAIT here and nowhere else."""
