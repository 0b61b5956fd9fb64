"""Panels with kernel counters and the limits of the whole host."""

from __future__ import annotations

from exporter.metrics import catalog

from ..colors import CRITICAL, TIME_WAIT, WARNING
from ..panels import PER_SECOND, RATIO, Json, color_by_series, timeseries
from ..queries import Query, recorded, selector
from .shared import kernel_rate


def failed_connections() -> Json:
    """Return a graph of connections that failed or were reset, and of retransmitted segments."""
    return timeseries(
        "Failed connections",
        "Per second. not established: refused, or not answered; a connect() that finds no free port does not "
        "count. reset: established connections that were reset. resets sent, retransmitted: segments.",
        [
            kernel_rate(catalog.SOCKET_KERNEL_CONNECT_FAILURES, "not established"),
            kernel_rate(catalog.SOCKET_KERNEL_ESTABLISHED_RESETS, "reset"),
            kernel_rate(catalog.SOCKET_KERNEL_RESETS_SENT, "resets sent"),
            kernel_rate(catalog.SOCKET_KERNEL_RETRANSMITTED_SEGMENTS, "retransmitted"),
        ],
        PER_SECOND,
        alerts=["EphemeralPortsNearExhaustion"],
    )


def dropped_connections() -> Json:
    """Return a graph of connections dropped by listeners."""
    return timeseries(
        "Dropped connections",
        "Connections per second. queue full: an accept queue was full. dropped: dropped by a listener for "
        "any reason. Empty on Windows, which does not count them.",
        [
            kernel_rate(catalog.SOCKET_KERNEL_LISTEN_OVERFLOWS, "queue full"),
            kernel_rate(catalog.SOCKET_KERNEL_LISTEN_DROPS, "dropped"),
        ],
        PER_SECOND,
        overrides=color_by_series({"queue full": CRITICAL, "dropped": WARNING}),
        alerts=["ListenOverflows"],
    )


def aborts() -> Json:
    """Return a graph of connections aborted by the kernel."""
    return timeseries(
        "Aborted connections by reason",
        "Connections per second. close: closed with unread data. data: data received after close(). "
        "timeout: the peer does not respond. memory: too many orphans, or no memory. Empty on Windows, which "
        "does not count them.",
        [
            Query(
                f"sum by (reason) (rate({selector(catalog.SOCKET_KERNEL_ABORTS)}[$__rate_interval]))",
                "{{reason}}",
            )
        ],
        PER_SECOND,
    )


def limits() -> Json:
    """Return a graph of the usage of the limits of the whole host."""
    ratios = {
        "TIME_WAIT": "instance:socket_time_wait:ratio",
        "orphans": "instance:socket_orphans:ratio",
        "memory": "instance:socket_memory:ratio",
    }
    return timeseries(
        "Kernel limits",
        "Ratio of TIME_WAIT sockets to tcp_max_tw_buckets, of orphans to tcp_max_orphans and of buffer "
        "memory to tcp_mem; the worst host. Threshold lines apply to orphans and memory. Empty on Windows, "
        "which has no such limits.",
        [Query(f"max({recorded(series)})", name) for name, series in ratios.items()],
        RATIO,
        thresholds="orphans_ratio",
        overrides=color_by_series({"TIME_WAIT": TIME_WAIT, "orphans": "light-purple", "memory": "#A0A0A0"}),
        alerts=["TimeWaitNearLimit", "OrphanSocketsNearLimit", "TcpMemoryNearLimit"],
    )
