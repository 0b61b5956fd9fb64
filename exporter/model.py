"""Plain values that every layer shares. Imports nothing of ours, asks nobody anything."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final, NamedTuple, Protocol

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

Key = Hashable
"""What tells one socket in one situation apart: an equal key in a later reading means that
nothing we report about that socket has changed. Opaque to everyone but the source."""


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
    """Sockets in a compact form, made into Sockets at each iteration."""

    def __iter__(self) -> Iterator[Socket]: ...

    def holders(self) -> Iterable[int]:
        """Their holders, without making Sockets."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Some sockets of one reading, as columns: built so that a warm scrape touches no row.

    keys: one Key for each socket. time_wait: whether int keys are cookies in TIME_WAIT.
    holders: the holder column, unsigned 32 bits each in native order, empty where nobody holds any.
    take: position numbers -> the Rows there.
    """

    keys: Sequence[Key]
    time_wait: bool
    holders: bytes
    take: Callable[[Sequence[int]], Rows]


class ProcessId(NamedTuple):
    """A process for its whole life, even when the pid is used again later."""

    pid: int
    start_time: float


class Unowned(Enum):
    """Why a socket has no owner."""

    __hash__ = object.__hash__  # Enum's own runs Python code, and this is hashed for every new socket

    RELEASED = "released"
    """The kernel names no holder and no listener stands on its port: TIME_WAIT, orphans."""
    NOT_FOUND = "not_found"
    """It has a holder, but no process was seen holding it."""


Owner = ProcessId | Unowned


@dataclass(frozen=True, slots=True)
class Process:
    """What naming rules may ask of a process. Empty where it could not be read."""

    pid: int
    start_time: float
    """Seconds since the epoch."""
    comm: str
    cmdline: tuple[str, ...] = ()
    username: str = ""
    cwd: str = ""
    cgroups: tuple[str, ...] = ()
    """Control group paths, as in /proc/PID/cgroup."""
    unit: str = ""
    """systemd unit, such as `cups.service`."""
    container: str = ""
    """Container id, 64 hexadecimal digits."""


class Direction(Enum):
    """Which side opened the connection."""

    __hash__ = object.__hash__  # as Unowned's

    INBOUND = "inbound"
    """A local listener accepted it; its own port is the service."""
    OUTBOUND = "outbound"
    """The local side called; the remote port is the service."""
    NONE = "none"
    """No connection: listening, or only bound."""


class Group(NamedTuple):
    """What sockets that are counted together have in common. `port` is the service's: the local
    one for inbound sockets and listeners, the remote one for outbound, the local one for none."""

    state: int
    owner: Owner
    direction: Direction
    port: int
