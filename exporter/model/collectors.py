"""Names of the collectors, the parts of a scrape that can be disabled one by one, and their help texts."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final


class CollectorName(StrEnum):
    """Name of a collector, as in `--no-collector.NAME`, `collect[]` and the label `collector`."""

    STATES = "states"
    LISTENERS = "listeners"
    OWNERS = "owners"
    CLOSE_WAIT = "close-wait"
    TIME_WAIT = "time-wait"
    EPHEMERAL = "ephemeral"
    EPHEMERAL_ADDRESSES = "ephemeral-addresses"
    DESCRIPTORS = "descriptors"
    QUEUES = "queues"
    LIMITS = "limits"


COLLECTOR_HELP: Final[Mapping[CollectorName, str]] = {
    CollectorName.STATES: "sockets by state, process and remote port",
    CollectorName.LISTENERS: "sockets by listening port, and accept queues",
    CollectorName.OWNERS: "processes that own the sockets; without it, every process is `unknown`",
    CollectorName.CLOSE_WAIT: "causes and ages of CLOSE_WAIT",
    CollectorName.TIME_WAIT: "TIME_WAIT sockets by attribution method",
    CollectorName.EPHEMERAL: "ephemeral port usage (maximum per destination and per local address)",
    CollectorName.EPHEMERAL_ADDRESSES: (
        "ephemeral ports by destination (the only metric with remote addresses)"
    ),
    CollectorName.DESCRIPTORS: (
        "open and dead file descriptors of the processes that own sockets, and their limits"
    ),
    CollectorName.QUEUES: "receive and send queue bytes by process",
    CollectorName.LIMITS: "TCP sysctl limits and kernel counters",
}
"""Collector -> what it exports, as a noun phrase."""

MEASURED_COLLECTORS: Final = frozenset(
    {
        CollectorName.STATES,
        CollectorName.LISTENERS,
        CollectorName.OWNERS,
        CollectorName.CLOSE_WAIT,
        CollectorName.EPHEMERAL,
        CollectorName.DESCRIPTORS,
        CollectorName.LIMITS,
    }
)
"""Collectors that read or count something themselves and therefore have a duration. The metrics of the others
are derived from their results."""
