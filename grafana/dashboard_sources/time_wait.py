"""Panels about TIME_WAIT: processes, attribution methods and rates."""

from __future__ import annotations

from typing import Final

from exporter.metrics import catalog

from ..colors import CRITICAL, TIME_WAIT, UNKNOWN
from ..panels import PER_SECOND, SHORT, Json, color_by_series, timeseries
from ..queries import Query, selector
from .shared import kernel_rate, top_processes

METHODS: Final = {
    "listener": "dark-blue",
    "observed": "semi-dark-blue",
    "inferred": "light-blue",
    "none": UNKNOWN,
}
"""Colors of the attribution methods: the darker, the more certain."""


def by_process() -> Json:
    """Return a graph of TIME_WAIT by process."""
    return top_processes(
        "TIME_WAIT by process",
        "The process that closed first, as attributed by the exporter; see the panel on the right for "
        "`unknown`.",
        selector(catalog.SOCKET_STATES, 'state="time_wait"'),
        SHORT,
        color=TIME_WAIT,
        alerts=["TimeWaitNearLimit"],
    )


def by_method() -> Json:
    """Return a graph of TIME_WAIT by attribution method."""
    return timeseries(
        "TIME_WAIT by attribution method",
        "The kernel keeps no owner for sockets in TIME_WAIT. listener: a process listens on the local port. "
        "observed: the process owned the socket in an earlier collection. inferred: probably, it is the only "
        "process seen opening connections to that address and port at that time. none: unknown.",
        [Query(f"sum by (method) ({selector(catalog.SOCKET_TIME_WAIT_ATTRIBUTION)})", "{{method}}")],
        SHORT,
        stack=True,
        overrides=color_by_series(METHODS),
    )


def rates() -> Json:
    """Return a graph of the kernel's TIME_WAIT counters."""
    return timeseries(
        "TIME_WAIT rates",
        "Sockets per second. started: entered TIME_WAIT. reused: its port was reused by connect(). skipped: "
        "closed without TIME_WAIT because of tcp_max_tw_buckets. Empty on Windows, which does not "
        "count them.",
        [
            kernel_rate(catalog.SOCKET_KERNEL_TIME_WAIT_STARTED, "started"),
            kernel_rate(catalog.SOCKET_KERNEL_TIME_WAIT_REUSED, "reused"),
            kernel_rate(catalog.SOCKET_KERNEL_TIME_WAIT_OVERFLOWS, "skipped"),
        ],
        PER_SECOND,
        overrides=color_by_series({"started": TIME_WAIT, "reused": "light-blue", "skipped": CRITICAL}),
        alerts=["TimeWaitOverflow"],
    )
