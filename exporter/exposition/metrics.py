"""The one table of metrics: the only place where a name, a help text or a label is written."""

from __future__ import annotations

from typing import Final

from ..analysis.fold import OTHER as OTHER
from ..naming.rules import UNKNOWN as UNKNOWN
from .kinds import Counter, Gauge, GaugeHistogram

STATES: Final = Gauge(
    "socket_states",
    "TCP sockets by state, owning process and remote port. The port is the service called for outbound "
    "sockets, `inbound` for those that a local listener accepted, `none` for those without a connection, "
    "`other` for what was folded. The sum over a state is what the kernel reported.",
    ("state", "process", "remote_port"),
)
HOST_STATES: Final = Gauge(
    "socket_host_states",
    "TCP sockets of the host (of this network namespace) by state; every state, zeros included. On Linux, "
    "close is those bound but not connected, looked for once a minute where there are over 10,000 sockets.",
    ("state",),
)
LISTENER_STATES: Final = Gauge(
    "socket_listener_states",
    "Inbound TCP sockets by state, owning process and the local port that accepted them.",
    ("state", "process", "local_port"),
)
ACCEPT_QUEUE_LENGTH: Final = Gauge(
    "socket_listener_accept_queue_length",
    "Connections that wait for accept(). Of several listeners on one port, the one nearest to its limit.",
    ("process", "local_port"),
)
ACCEPT_QUEUE_LIMIT: Final = Gauge(
    "socket_listener_accept_queue_limit",
    "The backlog: the kernel drops connections when more than so many wait for accept().",
    ("process", "local_port"),
)
CLOSE_WAIT_SOCKETS: Final = Gauge(
    "socket_close_wait_sockets",
    "Connections that the other side has closed and the local process has not, by process, service port, "
    "direction and cause: `not_accepted` still in the accept queue, `not_read` data or the end unread, "
    "`not_closed` drained, close() is missing, `sending` still sends, `unknown` the source cannot tell. "
    "MPTCP connections are counted here too; in socket_states they are the established ones beneath.",
    ("process", "port", "direction", "cause"),
)
CLOSE_WAIT_AGE: Final = GaugeHistogram(
    "socket_close_wait_age_seconds",
    "Seconds since the other side closed, of the connections in CLOSE_WAIT; from the kernel's tcp_info, or "
    "since the exporter first saw them, whichever is longer.",
    ("process",),
)
CLOSE_WAIT_OLDEST: Final = Gauge(
    "socket_close_wait_oldest_age_seconds",
    "Seconds since the other side closed, of the connection that has been in CLOSE_WAIT for longest.",
    ("process",),
)
TIME_WAIT_ATTRIBUTION: Final = Gauge(
    "socket_time_wait_attribution",
    "TCP sockets in TIME_WAIT by how their process was found: `listener` listens on their port, `observed` "
    "was seen holding them, `inferred` nobody else talks to that address and port, `none` it is unknown.",
    ("method",),
)
TIME_WAIT_LIMIT: Final = Gauge(
    "socket_time_wait_limit",
    "TCP sockets in TIME_WAIT at most (tcp_max_tw_buckets); a further one is closed at once.",
)
TIME_WAIT_DURATION: Final = Gauge(
    "socket_time_wait_duration_seconds",
    "Seconds that a socket stays in TIME_WAIT.",
)
TIME_WAIT_REUSE: Final = Gauge(
    "socket_time_wait_reuse",
    "Whether connect() may take a port in TIME_WAIT (tcp_tw_reuse): 0 never, 1 always, 2 on loopback only.",
)
EPHEMERAL_USED: Final = Gauge(
    "socket_ephemeral_ports_used",
    "Ephemeral ports used towards a destination, from the source address that uses most; of the fullest "
    "destinations.",
    ("remote_address", "remote_port"),
)
EPHEMERAL_USED_MAX: Final = Gauge(
    "socket_ephemeral_ports_used_max",
    "Ephemeral ports used from one source address towards the fullest destination.",
)
EPHEMERAL_BOUND: Final = Gauge(
    "socket_ephemeral_ports_bound",
    "Distinct ephemeral ports taken on the fullest local address: what bind() to port 0 runs out of. Counted "
    "once a minute where reading the sockets takes over 5 ms.",
)
EPHEMERAL_BOUND_LIMIT: Final = Gauge(
    "socket_ephemeral_ports_bound_limit",
    "Ephemeral ports that one local address has: ip_local_port_range, less the reserved ones.",
)
EPHEMERAL_LIMIT: Final = Gauge(
    "socket_ephemeral_ports_limit",
    "Ephemeral ports that connect() can take towards one destination: ip_local_port_range, less the reserved "
    "ones and those that are listened on or only bound.",
)
PROCESS_OPEN_FDS: Final = Gauge(
    "socket_process_open_fds",
    "File descriptors open in the processes of that name that own TCP sockets.",
    ("process",),
)
PROCESS_WORST_FD_RATIO: Final = Gauge(
    "socket_process_worst_fd_ratio",
    "Open file descriptors against their soft limit, of the worst of the processes of that name.",
    ("process",),
)
RECEIVE_QUEUE: Final = Gauge(
    "socket_receive_queue_bytes",
    "Bytes that arrived and the process has not read; the end of a stream counts as one.",
    ("process",),
)
SEND_QUEUE: Final = Gauge(
    "socket_send_queue_bytes",
    "Bytes that the process wrote and the other side has not confirmed; the end of a stream counts as one.",
    ("process",),
)
ORPHANS: Final = Gauge(
    "socket_orphans", "TCP sockets that no process holds any more, TIME_WAIT left out, in all namespaces."
)
ORPHANS_LIMIT: Final = Gauge(
    "socket_orphans_limit", "Orphans at most (tcp_max_orphans); a further one is reset."
)
MEMORY: Final = Gauge("socket_memory_bytes", "Memory of all TCP buffers in bytes, in all namespaces.")
MEMORY_LIMIT: Final = Gauge(
    "socket_memory_limit_bytes", "Memory of all TCP buffers at most, in bytes (the last figure of tcp_mem)."
)
KERNEL_TIME_WAIT_OVERFLOWS: Final = Counter(
    "socket_kernel_time_wait_overflows",
    "Sockets closed at once because of the limit on TIME_WAIT (TcpExt TCPTimeWaitOverflow).",
)
KERNEL_TIME_WAIT_STARTED: Final = Counter(
    "socket_kernel_time_wait_started", "Sockets that entered TIME_WAIT (TcpExt TW)."
)
KERNEL_TIME_WAIT_REUSED: Final = Counter(
    "socket_kernel_time_wait_reused", "Sockets in TIME_WAIT whose port connect() took (TcpExt TWRecycled)."
)
KERNEL_LISTEN_OVERFLOWS: Final = Counter(
    "socket_kernel_listen_overflows",
    "Connections refused because the accept queue was full (TcpExt ListenOverflows).",
)
KERNEL_LISTEN_DROPS: Final = Counter(
    "socket_kernel_listen_drops",
    "Connections that a listener dropped for any reason, overflows included (TcpExt ListenDrops).",
)
KERNEL_ABORTS: Final = Counter(
    "socket_kernel_aborts",
    "Connections aborted, by reason: `close` with data unread, `data` data came after close(), `timeout`, "
    "`linger`, `memory`, `failed` the reset could not be sent (TcpExt TCPAbortOn..., TCPAbortFailed).",
    ("reason",),
)
BUILD_INFO: Final = Gauge(
    "socket_exporter_build_info",
    "Always 1; the exporter's version, where it reads sockets from, and the Python that runs it.",
    ("version", "source", "python"),
)
COLLECTOR_DURATION: Final = Gauge(
    "socket_scrape_collector_duration_seconds",
    "Seconds that a part of this scrape took.",
    ("collector",),
)
COLLECTOR_SUCCESS: Final = Gauge(
    "socket_scrape_collector_success",
    "Whether a part of this scrape worked, and in time for the scraper: 1 or 0. What depends on a part that "
    "failed is absent or unknown.",
    ("collector",),
)
UNOWNED: Final = Gauge(
    "socket_exporter_unowned_sockets",
    'TCP sockets counted as process="unknown", by reason: `released` nobody holds them any more (TIME_WAIT, '
    "orphans), `unreadable` held, but some processes may not be looked into, `hidden` held, but /proc hides "
    "other users' processes, `not_found` held by no process that can be seen, `disabled` not asked for.",
    ("reason",),
)
UNREADABLE: Final = Gauge(
    "socket_exporter_unreadable_processes",
    "Processes whose descriptors could not be read when the exporter last looked, by reason.",
    ("reason",),
)
FOLDED: Final = Gauge(
    "socket_exporter_folded_series",
    "Label values, or whole series, that were folded into `other` to keep a family bounded.",
    ("family", "label"),
)
RELOAD_SUCCESSFUL: Final = Gauge(
    "socket_exporter_config_last_reload_successful",
    "Whether the configuration files could be used when last read: 1 or 0. At 0 older ones are used.",
)
RELOAD_TIMESTAMP: Final = Gauge(
    "socket_exporter_config_last_reload_success_timestamp_seconds",
    "When the configuration in use was read, in seconds since the epoch.",
)

TABLE: Final[tuple[Gauge, ...]] = (
    STATES,
    HOST_STATES,
    LISTENER_STATES,
    ACCEPT_QUEUE_LENGTH,
    ACCEPT_QUEUE_LIMIT,
    CLOSE_WAIT_SOCKETS,
    CLOSE_WAIT_AGE,
    CLOSE_WAIT_OLDEST,
    TIME_WAIT_ATTRIBUTION,
    TIME_WAIT_LIMIT,
    TIME_WAIT_DURATION,
    TIME_WAIT_REUSE,
    EPHEMERAL_USED,
    EPHEMERAL_USED_MAX,
    EPHEMERAL_BOUND,
    EPHEMERAL_BOUND_LIMIT,
    EPHEMERAL_LIMIT,
    PROCESS_OPEN_FDS,
    PROCESS_WORST_FD_RATIO,
    RECEIVE_QUEUE,
    SEND_QUEUE,
    ORPHANS,
    ORPHANS_LIMIT,
    MEMORY,
    MEMORY_LIMIT,
    KERNEL_TIME_WAIT_OVERFLOWS,
    KERNEL_TIME_WAIT_STARTED,
    KERNEL_TIME_WAIT_REUSED,
    KERNEL_LISTEN_OVERFLOWS,
    KERNEL_LISTEN_DROPS,
    KERNEL_ABORTS,
    BUILD_INFO,
    COLLECTOR_DURATION,
    COLLECTOR_SUCCESS,
    UNOWNED,
    UNREADABLE,
    FOLDED,
    RELOAD_SUCCESSFUL,
    RELOAD_TIMESTAMP,
)

INBOUND: Final = "inbound"
NO_PORT: Final = "none"

UNOWNED_REASONS: Final = ("released", "unreadable", "hidden", "not_found", "disabled")
UNREADABLE_REASONS: Final = ("permission", "vanished", "error")
