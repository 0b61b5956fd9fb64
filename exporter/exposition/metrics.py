"""The one table of metrics: the only place where a name, a help text or a label is written."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from prometheus_client.core import GaugeMetricFamily, Metric


@dataclass(frozen=True, slots=True)
class Gauge:
    """One family of gauges: its name, what HELP says of it, and its labels."""

    name: str
    help: str
    labels: tuple[str, ...] = ()

    def family(self, samples: Iterable[tuple[Sequence[str], float]] = ()) -> Metric:
        """The family with these (label values, value) samples."""
        family = GaugeMetricFamily(self.name, self.help, labels=self.labels)
        for values, value in samples:
            family.add_metric(values, value)
        return family


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
    "close is those bound but not connected, looked for once a minute where that takes over 5 ms.",
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
    "Whether a part of this scrape worked: 1 or 0. What depends on a part that failed is absent or unknown.",
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

TABLE: Final[tuple[Gauge, ...]] = (
    STATES,
    HOST_STATES,
    LISTENER_STATES,
    ACCEPT_QUEUE_LENGTH,
    ACCEPT_QUEUE_LIMIT,
    BUILD_INFO,
    COLLECTOR_DURATION,
    COLLECTOR_SUCCESS,
    UNOWNED,
    UNREADABLE,
    FOLDED,
)

UNKNOWN: Final = "unknown"
OTHER: Final = "other"
INBOUND: Final = "inbound"
NO_PORT: Final = "none"

UNOWNED_REASONS: Final = ("released", "unreadable", "hidden", "not_found", "disabled")
UNREADABLE_REASONS: Final = ("permission", "vanished", "error")
