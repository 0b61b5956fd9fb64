"""Metric catalog: each metric is declared here, once, with its name, help text, labels and collector.

To add a metric, declare it here and build it in the module of its subject (`*_metrics.py`). The constant of a
metric is its name in upper case.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Final, TypeVar

from prometheus_client.core import Metric
from prometheus_client.samples import Sample

from ..model.collectors import CollectorName
from .spec import CounterSpec, GaugeHistogramSpec, GaugeSpec, MetricSpec

_Spec = TypeVar("_Spec", bound=MetricSpec)

_declared: Final[list[MetricSpec]] = []


def gauge(
    name: str, help_text: str, labels: tuple[str, ...] = (), *, collector: CollectorName | None
) -> GaugeSpec:
    """Declare a gauge."""
    return _declare(GaugeSpec(name, help_text, labels, collector))


def counter(
    name: str, help_text: str, labels: tuple[str, ...] = (), *, collector: CollectorName | None
) -> CounterSpec:
    """Declare a counter, whose samples have the suffix `_total`."""
    return _declare(CounterSpec(name, help_text, labels, collector))


def gauge_histogram(
    name: str, help_text: str, labels: tuple[str, ...] = (), *, collector: CollectorName | None
) -> GaugeHistogramSpec:
    """Declare a gauge histogram: its counts may decrease."""
    return _declare(GaugeHistogramSpec(name, help_text, labels, collector))


def _declare(spec: _Spec) -> _Spec:
    _declared.append(spec)
    return spec


SOCKET_STATES: Final = gauge(
    "socket_states",
    "Number of TCP sockets by state, process and remote port. remote_port is the destination port of "
    "outbound connections, `inbound` for accepted ones, `none` for unconnected sockets, `other` for "
    "aggregated ones.",
    ("state", "process", "remote_port"),
    collector=CollectorName.STATES,
)
SOCKET_HOST_STATES: Final = gauge(
    "socket_host_states",
    "Number of TCP sockets in this network namespace by state, including zeros. On Linux `close` counts "
    "bound, unconnected sockets, updated once a minute above 10,000 sockets.",
    ("state",),
    collector=CollectorName.STATES,
)
SOCKET_LISTENER_STATES: Final = gauge(
    "socket_listener_states",
    "Number of inbound TCP sockets by state, process and the local port that accepted them.",
    ("state", "process", "local_port"),
    collector=CollectorName.LISTENERS,
)
SOCKET_LISTENER_ACCEPT_QUEUE_LENGTH: Final = gauge(
    "socket_listener_accept_queue_length",
    "Current length of the accept queue. With several listeners on a port, that of the most utilized one.",
    ("process", "local_port"),
    collector=CollectorName.LISTENERS,
)
SOCKET_LISTENER_ACCEPT_QUEUE_LIMIT: Final = gauge(
    "socket_listener_accept_queue_limit",
    "Backlog of the listener: while the accept queue is longer, the kernel drops connections.",
    ("process", "local_port"),
    collector=CollectorName.LISTENERS,
)
SOCKET_CLOSE_WAIT_SOCKETS: Final = gauge(
    "socket_close_wait_sockets",
    "Number of connections in CLOSE_WAIT (closed by the peer, not by the local process) by process, "
    "service port, direction and cause: `not_accepted` (still in the accept queue), `not_read` (unread "
    "data or FIN pending), `not_closed` (all data read, close() not called, or a response still being "
    "computed), `sending` (data not yet acknowledged, or sent since the peer closed and in the last 5 "
    "minutes), `unknown` (no queue lengths available). Includes MPTCP connections, whose subflows appear as "
    "established in socket_states.",
    ("process", "port", "direction", "cause"),
    collector=CollectorName.CLOSE_WAIT,
)
SOCKET_CLOSE_WAIT_AGE_SECONDS: Final = gauge_histogram(
    "socket_close_wait_age_seconds",
    "Time in seconds since the peer closed, for connections in CLOSE_WAIT: the longer of tcp_info's "
    "last_ack_recv (with keepalive, since the last answer) and the time since the exporter first observed "
    "the connection.",
    ("process",),
    collector=CollectorName.CLOSE_WAIT,
)
SOCKET_CLOSE_WAIT_SENDING_AGE_SECONDS: Final = gauge_histogram(
    "socket_close_wait_sending_age_seconds",
    "Time in seconds since the peer closed, for connections in CLOSE_WAIT with the cause `sending`, which "
    "are also part of socket_close_wait_age_seconds. Absent for a process without such connections.",
    ("process",),
    collector=CollectorName.CLOSE_WAIT,
)
SOCKET_CLOSE_WAIT_OLDEST_AGE_SECONDS: Final = gauge(
    "socket_close_wait_oldest_age_seconds",
    "Time in seconds since the peer closed, for the oldest connection in CLOSE_WAIT.",
    ("process",),
    collector=CollectorName.CLOSE_WAIT,
)
SOCKET_TIME_WAIT_ATTRIBUTION: Final = gauge(
    "socket_time_wait_attribution",
    "Number of sockets in TIME_WAIT by attribution method: `listener` (process listening on the local "
    "port), `observed` (seen with an owner before), `inferred` (probably the only process seen opening "
    "connections to the destination at that time), `none` (owner unknown).",
    ("method",),
    collector=CollectorName.TIME_WAIT,
)
SOCKET_TIME_WAIT_LIMIT: Final = gauge(
    "socket_time_wait_limit",
    "Maximum number of sockets in TIME_WAIT (tcp_max_tw_buckets); sockets beyond it skip TIME_WAIT.",
    collector=CollectorName.LIMITS,
)
SOCKET_TIME_WAIT_DURATION_SECONDS: Final = gauge(
    "socket_time_wait_duration_seconds",
    "Time in seconds that a socket stays in TIME_WAIT.",
    collector=CollectorName.LIMITS,
)
SOCKET_TIME_WAIT_REUSE: Final = gauge(
    "socket_time_wait_reuse",
    "Whether connect() may reuse a port in TIME_WAIT (tcp_tw_reuse): 0 disabled, 1 enabled, 2 loopback only.",
    collector=CollectorName.LIMITS,
)
SOCKET_EPHEMERAL_PORTS_USED: Final = gauge(
    "socket_ephemeral_ports_used",
    "Ephemeral ports in use towards a destination (maximum over source addresses), for the 10 "
    "destinations with most of them.",
    ("remote_address", "remote_port"),
    collector=CollectorName.EPHEMERAL_ADDRESSES,
)
SOCKET_EPHEMERAL_PORTS_USED_MAX: Final = gauge(
    "socket_ephemeral_ports_used_max",
    "Ephemeral ports in use towards the destination with most of them (maximum over source addresses).",
    collector=CollectorName.EPHEMERAL,
)
SOCKET_EPHEMERAL_PORTS_BOUND: Final = gauge(
    "socket_ephemeral_ports_bound",
    "Distinct ephemeral ports in use on the local address with most of them; bind() to port 0 fails "
    "when it reaches the limit. Updated once a minute where reading the sockets takes over 5 ms.",
    collector=CollectorName.EPHEMERAL,
)
SOCKET_EPHEMERAL_PORTS_BOUND_LIMIT: Final = gauge(
    "socket_ephemeral_ports_bound_limit",
    "Ephemeral ports available on one local address: ip_local_port_range minus reserved ports.",
    collector=CollectorName.EPHEMERAL,
)
SOCKET_EPHEMERAL_PORTS_LIMIT: Final = gauge(
    "socket_ephemeral_ports_limit",
    "Ephemeral ports available to connect() per destination: ip_local_port_range minus reserved, "
    "listening and bound ports.",
    collector=CollectorName.EPHEMERAL,
)
SOCKET_DEAD_FDS: Final = gauge(
    "socket_dead_fds",
    "Number of open file descriptors whose TCP socket is in no kernel table, by process and connection: "
    "`lost` (an earlier collection contained the connection, close() is missing since it ended), `unknown` "
    "(it ended before it was observed, or the socket was never connected, or is of another network "
    "namespace).",
    ("process", "connection"),
    collector=CollectorName.DESCRIPTORS,
)
SOCKET_DEAD_FDS_AGE_SECONDS: Final = gauge_histogram(
    "socket_dead_fds_age_seconds",
    "Time in seconds since the exporter first found the socket of a dead file descriptor (see "
    "socket_dead_fds) in no kernel table.",
    ("process",),
    collector=CollectorName.DESCRIPTORS,
)
SOCKET_DEAD_FDS_OLDEST_AGE_SECONDS: Final = gauge(
    "socket_dead_fds_oldest_age_seconds",
    "Time in seconds since the exporter first found the socket in no kernel table, for the oldest dead file "
    "descriptor.",
    ("process",),
    collector=CollectorName.DESCRIPTORS,
)
SOCKET_PROCESS_OPEN_FDS: Final = gauge(
    "socket_process_open_fds",
    "Open file descriptors of processes that own TCP sockets or dead file descriptors, by process name.",
    ("process",),
    collector=CollectorName.DESCRIPTORS,
)
SOCKET_PROCESS_WORST_FD_RATIO: Final = gauge(
    "socket_process_worst_fd_ratio",
    "Highest ratio of open file descriptors to the soft limit among processes of this name.",
    ("process",),
    collector=CollectorName.DESCRIPTORS,
)
SOCKET_PROCESS_OPEN_HANDLES: Final = gauge(
    "socket_process_open_handles",
    "Open handles of processes that own TCP sockets, by process name. Windows only: it has no limit of file "
    "descriptors.",
    ("process",),
    collector=CollectorName.DESCRIPTORS,
)
SOCKET_RECEIVE_QUEUE_BYTES: Final = gauge(
    "socket_receive_queue_bytes",
    "Bytes received and not yet read by the process; a pending FIN counts as one byte.",
    ("process",),
    collector=CollectorName.QUEUES,
)
SOCKET_SEND_QUEUE_BYTES: Final = gauge(
    "socket_send_queue_bytes",
    "Bytes written by the process and not yet acknowledged by the peer; a pending FIN counts as one byte.",
    ("process",),
    collector=CollectorName.QUEUES,
)
SOCKET_ORPHANS: Final = gauge(
    "socket_orphans",
    "Number of orphaned TCP sockets, excluding TIME_WAIT, in all network namespaces.",
    collector=CollectorName.LIMITS,
)
SOCKET_ORPHANS_LIMIT: Final = gauge(
    "socket_orphans_limit",
    "Maximum number of orphaned TCP sockets (tcp_max_orphans); further ones are reset.",
    collector=CollectorName.LIMITS,
)
SOCKET_MEMORY_BYTES: Final = gauge(
    "socket_memory_bytes",
    "Memory of TCP buffers in bytes, in all network namespaces.",
    collector=CollectorName.LIMITS,
)
SOCKET_MEMORY_LIMIT_BYTES: Final = gauge(
    "socket_memory_limit_bytes",
    "TCP buffer memory limit in bytes (high value of tcp_mem).",
    collector=CollectorName.LIMITS,
)
SOCKET_KERNEL_TIME_WAIT_OVERFLOWS: Final = counter(
    "socket_kernel_time_wait_overflows",
    "Sockets that skipped TIME_WAIT because of tcp_max_tw_buckets (TcpExt TCPTimeWaitOverflow).",
    collector=CollectorName.LIMITS,
)
SOCKET_KERNEL_TIME_WAIT_STARTED: Final = counter(
    "socket_kernel_time_wait_started",
    "Sockets that entered TIME_WAIT (TcpExt TW).",
    collector=CollectorName.LIMITS,
)
SOCKET_KERNEL_TIME_WAIT_REUSED: Final = counter(
    "socket_kernel_time_wait_reused",
    "Sockets in TIME_WAIT whose port was reused by connect() (TcpExt TWRecycled).",
    collector=CollectorName.LIMITS,
)
SOCKET_KERNEL_LISTEN_OVERFLOWS: Final = counter(
    "socket_kernel_listen_overflows",
    "Connections dropped because the accept queue was full (TcpExt ListenOverflows).",
    collector=CollectorName.LIMITS,
)
SOCKET_KERNEL_LISTEN_DROPS: Final = counter(
    "socket_kernel_listen_drops",
    "Connections dropped by listening sockets for any reason, including overflows (TcpExt ListenDrops).",
    collector=CollectorName.LIMITS,
)
SOCKET_KERNEL_SYN_QUEUE_DROPS: Final = counter(
    "socket_kernel_syn_queue_drops",
    "SYNs dropped because the SYN queue of a listening socket was full (TcpExt TCPReqQFullDrop). Always 0 "
    "with tcp_syncookies enabled: the kernel then sends SYN cookies.",
    collector=CollectorName.LIMITS,
)
SOCKET_KERNEL_BACKLOG_DROPS: Final = counter(
    "socket_kernel_backlog_drops",
    "Segments dropped because the backlog of a socket was full (TcpExt TCPBacklogDrop): the segments that "
    "arrive while a process uses the socket, not the accept queue.",
    collector=CollectorName.LIMITS,
)
SOCKET_KERNEL_CONNECT_FAILURES: Final = counter(
    "socket_kernel_connect_failures",
    "Connections that ended before they were established (Tcp AttemptFails).",
    collector=CollectorName.LIMITS,
)
SOCKET_KERNEL_ESTABLISHED_RESETS: Final = counter(
    "socket_kernel_established_resets",
    "Established connections, and those in CLOSE_WAIT, that were reset (Tcp EstabResets).",
    collector=CollectorName.LIMITS,
)
SOCKET_KERNEL_RETRANSMITTED_SEGMENTS: Final = counter(
    "socket_kernel_retransmitted_segments",
    "Retransmitted segments (Tcp RetransSegs).",
    collector=CollectorName.LIMITS,
)
SOCKET_KERNEL_RESETS_SENT: Final = counter(
    "socket_kernel_resets_sent",
    "Sent segments with the flag RST (Tcp OutRsts).",
    collector=CollectorName.LIMITS,
)
SOCKET_KERNEL_ABORTS: Final = counter(
    "socket_kernel_aborts",
    "Connections aborted by reason: `close` (closed with data unread), `data` (data received after "
    "close()), `timeout`, `linger`, `memory`, `failed` (RST could not be sent) (TcpExt TCPAbortOn..., "
    "TCPAbortFailed).",
    ("reason",),
    collector=CollectorName.LIMITS,
)
SOCKET_EXPORTER_BUILD_INFO: Final = gauge(
    "socket_exporter_build_info",
    "A metric with a constant '1' value labeled by version, socket source and Python version.",
    ("version", "source", "python"),
    collector=None,
)
SOCKET_SCRAPE_COLLECTOR_DURATION_SECONDS: Final = gauge(
    "socket_scrape_collector_duration_seconds",
    "Duration of a collector scrape.",
    ("collector",),
    collector=None,
)
SOCKET_SCRAPE_COLLECTOR_SUCCESS: Final = gauge(
    "socket_scrape_collector_success",
    "Whether a collector succeeded within the scrape timeout. Metrics that depend on a failed collector "
    "are absent, or have the process `unknown`.",
    ("collector",),
    collector=None,
)
SOCKET_EXPORTER_UNOWNED_SOCKETS: Final = gauge(
    "socket_exporter_unowned_sockets",
    "Number of sockets without a known owner by reason: `released` (no owner: TIME_WAIT, orphans), "
    "`unreadable` (insufficient permissions), `hidden` (/proc mounted with hidepid), `not_found` (no "
    "visible process), `disabled` (collector owners disabled).",
    ("reason",),
    collector=CollectorName.STATES,
)
SOCKET_EXPORTER_UNREADABLE_PROCESSES: Final = gauge(
    "socket_exporter_unreadable_processes",
    "Number of processes whose file descriptors could not be read when all were last tried, by reason.",
    ("reason",),
    collector=None,
)
SOCKET_EXPORTER_AGGREGATED_LABEL_VALUES: Final = gauge(
    "socket_exporter_aggregated_label_values",
    "Number of label values, or of series (label `series`), aggregated into `other` to limit cardinality.",
    ("family", "label"),
    collector=None,
)
SOCKET_EXPORTER_CONFIG_LAST_RELOAD_SUCCESSFUL: Final = gauge(
    "socket_exporter_config_last_reload_successful",
    "Whether the last configuration reload attempt was successful.",
    collector=None,
)
SOCKET_EXPORTER_CONFIG_LAST_RELOAD_SUCCESS_TIMESTAMP_SECONDS: Final = gauge(
    "socket_exporter_config_last_reload_success_timestamp_seconds",
    "Timestamp of the last successful configuration reload.",
    collector=None,
)

METRICS: Final[tuple[MetricSpec, ...]] = tuple(_declared)
"""All metrics, in the order of their declaration."""

COLLECTOR_BY_METRIC: Final = {spec.name: spec.collector for spec in METRICS}
"""Name of the metric family -> collector; None for metrics that do not belong to a collector."""

_PER_COLLECTOR: Final = frozenset(
    {SOCKET_SCRAPE_COLLECTOR_DURATION_SECONDS.name, SOCKET_SCRAPE_COLLECTOR_SUCCESS.name}
)


def filter_by_collector(families: Iterable[Metric], collectors: frozenset[str]) -> Iterator[Metric]:
    """Return the families of these collectors, and those that do not belong to any collector.

    The collector `owners` has no metrics of its own; its duration and success are always included.
    """
    excluded = set(COLLECTOR_BY_METRIC.values()) - {None} - collectors
    for family in families:
        if family.name in _PER_COLLECTOR:
            yield _filter_samples(family, lambda sample: sample.labels["collector"] not in excluded)
        elif family.name == SOCKET_EXPORTER_AGGREGATED_LABEL_VALUES.name:
            yield _filter_samples(
                family, lambda sample: COLLECTOR_BY_METRIC.get(sample.labels["family"]) not in excluded
            )
        elif COLLECTOR_BY_METRIC.get(family.name) not in excluded:
            yield family


def _filter_samples(family: Metric, is_wanted: Callable[[Sample], bool]) -> Metric:
    """Return a copy of the family with the wanted samples. The original is shared with other requests."""
    filtered = Metric(family.name, family.documentation, family.type)
    filtered.samples = list(filter(is_wanted, family.samples))
    return filtered
