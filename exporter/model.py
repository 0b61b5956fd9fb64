"""Plain values that every layer shares. Imports nothing of ours, asks nobody anything."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
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


@dataclass(frozen=True, slots=True)
class EphemeralRange:
    """The local ports that the system chooses from for sockets that name none."""

    low: int
    high: int
    """The last one, included."""
    reserved: frozenset[int] = frozenset()
    """Those between that it never chooses."""

    @property
    def size(self) -> int:
        """How many ports can be chosen; 0 where all are reserved."""
        return self.high - self.low + 1 - len(self.reserved)

    def contains(self, port: int) -> bool:
        """Whether the system may choose this port."""
        return self.low <= port <= self.high and port not in self.reserved


@dataclass(frozen=True, slots=True)
class Limits:
    """What the system allows TCP to use. None is what the system does not tell."""

    time_wait_buckets: int | None = None
    """Sockets in TIME_WAIT at most; a further one is closed at once."""
    time_wait_seconds: float | None = None
    """How long a socket stays in TIME_WAIT, in seconds."""
    time_wait_reuse: int | None = None
    """Whether connect() takes ports in TIME_WAIT: 0 never, 1 always, 2 on loopback only."""
    ephemeral: EphemeralRange | None = None
    orphans: int | None = None
    """Sockets that no process holds, at most; a further one is reset."""
    memory_pressure_bytes: int | None = None
    """From here on the kernel saves memory on TCP buffers, in bytes."""
    memory_bytes: int | None = None
    """Memory of all TCP buffers at most, in bytes."""
    problems: tuple[str, ...] = ()
    """What is there but could not be read or makes no sense, a sentence each."""


@dataclass(frozen=True, slots=True)
class KernelCounters:
    """What the kernel counts of TCP itself. None is what this kernel does not tell.

    The counters count since boot, or since the network namespace was made.
    """

    time_wait_started: int | None = None
    """Counter of sockets that entered TIME_WAIT or, closed by us, wait in FIN_WAIT2
    (TcpExt TW; before Linux 5.17 counted as they leave it)."""
    time_wait_reused: int | None = None
    """Counter of sockets in TIME_WAIT whose port connect() took (TcpExt TWRecycled)."""
    time_wait_killed: int | None = None
    """Counter of sockets that stayed for less than the full time (TcpExt TWKilled)."""
    time_wait_overflows: int | None = None
    """Counter of sockets closed at once, tcp_max_tw_buckets being reached (TcpExt TCPTimeWaitOverflow)."""
    listen_overflows: int | None = None
    """Counter of SYNs and ACKs refused because the accept queue was full (TcpExt ListenOverflows)."""
    listen_drops: int | None = None
    """Counter of those refused for any reason, overflows included (TcpExt ListenDrops)."""
    request_queue_drops: int | None = None
    """Counter of SYNs dropped because the SYN queue was full (TcpExt TCPReqQFullDrop)."""
    backlog_drops: int | None = None
    """Counter of packets dropped because a socket's backlog was full (TcpExt TCPBacklogDrop)."""
    aborts: Mapping[str, int] = field(default_factory=dict)
    """Counters of connections aborted, by reason: close (with data unread), data (came after close()),
    timeout, linger, memory (orphans and buffers), as far as this kernel counts them (TcpExt TCPAbortOn...)
    and failed, the aborts of any reason whose RST could not be sent (TcpExt TCPAbortFailed)."""
    established: int | None = None
    """Sockets in ESTABLISHED and, on kernels since the middle of 2024, CLOSE_WAIT (Tcp CurrEstab)."""
    in_use: int | None = None
    """IPv4 sockets, without those in TIME_WAIT (sockstat, TCP inuse)."""
    in_use_ipv6: int | None = None
    """IPv6 sockets, without those in TIME_WAIT (sockstat6, TCP6 inuse)."""
    time_wait: int | None = None
    """Sockets in TIME_WAIT, and those in FIN_WAIT2 that no process holds (sockstat, TCP tw)."""
    orphans: int | None = None
    """Sockets that no process holds, of all network namespaces (sockstat, TCP orphan)."""
    allocated: int | None = None
    """Sockets, connected or not, but not in TIME_WAIT, of all network namespaces (sockstat, TCP alloc)."""
    memory_bytes: int | None = None
    """Memory of TCP buffers in bytes, of all network namespaces (sockstat, TCP mem)."""
    problems: tuple[str, ...] = ()
    """As in Limits."""


class Descriptors(NamedTuple):
    """How many file descriptors a process has open, and may have."""

    open: int
    limit: int | None
    """The soft limit; None for no limit."""


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
