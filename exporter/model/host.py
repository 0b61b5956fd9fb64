"""Limits, counters and file descriptors of the host."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

MAX_PORT: Final = 65_535
PORT_COUNT: Final = MAX_PORT + 1


@dataclass(frozen=True, slots=True)
class EphemeralRange:
    """Range of local ports for sockets that are not bound to a port."""

    low: int
    high: int
    """Last port, included."""
    reserved: frozenset[int] = frozenset()
    """Ports of the range that are never chosen (ip_local_reserved_ports)."""

    @property
    def size(self) -> int:
        """Number of ports that can be chosen; 0 if all are reserved."""
        return self.high - self.low + 1 - len(self.reserved)

    def contains(self, port: int) -> bool:
        """Return whether this port can be chosen."""
        return self.low <= port <= self.high and port not in self.reserved

    def as_bitmap(self) -> bytearray:
        """Return 65,536 bytes, one for each port: 1 if it can be chosen, else 0."""
        ports = bytearray(PORT_COUNT)
        ports[self.low : self.high + 1] = b"\1" * (self.high + 1 - self.low)
        for port in self.reserved:
            ports[port] = 0
        return ports


@dataclass(frozen=True, slots=True)
class SysctlLimits:
    """TCP limits of this host. None means that the system does not report the value."""

    max_time_wait_sockets: int | None = None
    """Maximum number of sockets in TIME_WAIT; further ones are closed immediately."""
    time_wait_seconds: float | None = None
    """Time that a socket stays in TIME_WAIT."""
    time_wait_reuse: int | None = None
    """Whether connect() takes ports in TIME_WAIT: 0 never, 1 always, 2 on loopback only."""
    ephemeral: EphemeralRange | None = None
    max_orphans: int | None = None
    """Maximum number of orphaned sockets, which no process has open; further ones are reset."""
    max_memory_bytes: int | None = None
    """Maximum memory of all TCP buffers."""
    ephemeral_is_assumed: bool = False
    """Whether the range is the default of Windows, since that of this host is not readable."""
    max_user_port: int | None = None
    """MaxUserPort in the registry of Windows: last ephemeral port of old releases."""
    errors: tuple[str, ...] = ()
    """One sentence for each value that exists but is unreadable or malformed."""


@dataclass(frozen=True, slots=True)
class KernelCounters:
    """TCP counters and gauges of the kernel. None means that this kernel does not report the value.

    The counters count since boot, or since the network namespace was made.
    """

    time_wait_started: int | None = None
    """Counter of sockets that entered TIME_WAIT, or FIN_WAIT2 after close() (TcpExt TW; before Linux 5.17
    counted when they leave these states)."""
    time_wait_reused: int | None = None
    """Counter of sockets in TIME_WAIT whose port connect() took (TcpExt TWRecycled)."""
    time_wait_overflows: int | None = None
    """Counter of sockets closed immediately at the limit tcp_max_tw_buckets (TcpExt TCPTimeWaitOverflow)."""
    listen_overflows: int | None = None
    """Counter of SYNs and ACKs refused because the accept queue was full (TcpExt ListenOverflows)."""
    listen_drops: int | None = None
    """Counter of SYNs and ACKs refused for any reason, including overflows (TcpExt ListenDrops)."""
    syn_queue_drops: int | None = None
    """Counter of SYNs dropped because the SYN queue of a listener was full (TcpExt TCPReqQFullDrop). With
    tcp_syncookies the kernel answers them with cookies and counts them as TCPReqQFullDoCookies instead
    (tcp_syn_flood_action in net/ipv4/tcp_input.c)."""
    backlog_drops: int | None = None
    """Counter of segments dropped because the backlog of a socket was full: the queue of segments that arrive
    while a process has locked the socket (TcpExt TCPBacklogDrop, tcp_add_backlog in net/ipv4/tcp_ipv4.c)."""
    connect_failures: int | None = None
    """Counter of connections that ended before they were established (RFC 4022 tcpAttemptFails)."""
    established_resets: int | None = None
    """Counter of established connections that were reset (RFC 4022 tcpEstabResets)."""
    retransmitted_segments: int | None = None
    """Counter of retransmitted segments (RFC 4022 tcpRetransSegs)."""
    resets_sent: int | None = None
    """Counter of sent segments with RST (RFC 4022 tcpOutRsts)."""
    aborts: Mapping[str, int] = field(default_factory=dict)
    """Counters of aborted connections by reason: close (data unread), data (received after close()), timeout,
    linger, memory (orphans and buffers) (TcpExt TCPAbortOn...), and failed, the aborts for any reason whose
    RST could not be sent (TcpExt TCPAbortFailed). Reasons that this kernel does not count are absent."""
    time_wait: int | None = None
    """Number of sockets in TIME_WAIT, and of orphans in FIN_WAIT2 (sockstat, TCP tw)."""
    orphans: int | None = None
    """Number of orphaned sockets in all network namespaces (sockstat, TCP orphan)."""
    memory_bytes: int | None = None
    """Memory of TCP buffers in all network namespaces (sockstat, TCP mem)."""
    errors: tuple[str, ...] = ()
    """One sentence for each file that exists but is unreadable or malformed."""


class FdUsage(NamedTuple):
    """Open file descriptors of a process and their limit."""

    open: int
    limit: int | None
    """Soft limit (RLIMIT_NOFILE); None for no limit."""
