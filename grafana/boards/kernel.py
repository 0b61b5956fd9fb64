"""What the kernel counts, and its limits for the whole host."""

from __future__ import annotations

from exporter.metrics import catalog

from ..colours import CRITICAL, TIME_WAIT, WARNING
from ..panels import PER_SECOND, RATIO, Json, by_name, timeseries
from ..queries import Query, of, recorded
from .courses import rate


def refused() -> Json:
    """Connections that a listener did not take."""
    return timeseries(
        "Connections refused",
        "A second: because an accept queue was full; dropped by a listener for any reason.",
        [
            rate(catalog.SOCKET_KERNEL_LISTEN_OVERFLOWS, "queue full"),
            rate(catalog.SOCKET_KERNEL_LISTEN_DROPS, "dropped"),
        ],
        PER_SECOND,
        overrides=by_name({"queue full": CRITICAL, "dropped": WARNING}),
        alerts=["ListenOverflows"],
    )


def aborts() -> Json:
    """Connections that the kernel aborted."""
    return timeseries(
        "Connections aborted, by reason",
        "A second. close: with data unread; data: it came after close(); timeout: the other side is silent; "
        "memory: too many orphans, or no memory.",
        [
            Query(
                f"sum by (reason) (rate({of(catalog.SOCKET_KERNEL_ABORTS)}[$__rate_interval]))", "{{reason}}"
            )
        ],
        PER_SECOND,
    )


def limits() -> Json:
    """The distance to the limits of the whole host."""
    parts = {
        "TIME_WAIT": "instance:socket_time_wait:ratio",
        "orphans": "instance:socket_orphans:ratio",
        "memory": "instance:socket_memory:ratio",
    }
    return timeseries(
        "The kernel's limits",
        "TIME_WAIT against tcp_max_tw_buckets, sockets without a process against tcp_max_orphans, buffers "
        "against "
        "tcp_mem; the worst host. The lines are those for orphans; memory has the same.",
        [Query(f"max({recorded(series)})", name) for name, series in parts.items()],
        RATIO,
        levels="orphans_ratio",
        overrides=by_name({"TIME_WAIT": TIME_WAIT, "orphans": "light-purple", "memory": "#A0A0A0"}),
        alerts=["TimeWaitNearLimit", "OrphanSocketsNearLimit", "TcpMemoryNearLimit"],
    )
