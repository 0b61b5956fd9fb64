"""Panels about CLOSE_WAIT: processes, causes and ages."""

from __future__ import annotations

from typing import Final

from exporter.metrics import catalog

from ..colors import CAUSES, TRANSPARENT, thresholds_above, thresholds_below
from ..panels import RATIO, SECONDS, SHORT, Json, color_by_series, heatmap, timeseries
from ..queries import Query, bucket_selector, recorded, selector
from ..tables import Column, table
from .shared import TO_HOST, TO_PROCESS, close_wait_stuck, seconds_until_fds_exhausted

_CAUSES: Final = (
    "not_closed: everything is read, close() is missing, or a response is still being computed. not_read: "
    "the process does not read the connection. not_accepted: the process has not accepted it. sending: the "
    "process still sends; no leak, not in Stuck and Growth. unknown: the socket source cannot tell."
)


def causes(*matchers: str) -> Json:
    """Return a graph of CLOSE_WAIT by cause."""
    return timeseries(
        "CLOSE_WAIT by cause",
        _CAUSES,
        [Query(f"sum by (cause) ({selector(catalog.SOCKET_CLOSE_WAIT_SOCKETS, *matchers)})", "{{cause}}")],
        SHORT,
        stack=True,
        overrides=color_by_series(CAUSES),
        alerts=["CloseWaitStuck"],
    )


def ages(*matchers: str) -> Json:
    """Return a heatmap of the ages of CLOSE_WAIT."""
    return heatmap(
        "Ages of CLOSE_WAIT",
        "Number of connections by time since the peer closed. Healthy programs stay in the lowest bucket; a "
        "leak moves from bucket to bucket.",
        f"sum by (le) ({bucket_selector(catalog.SOCKET_CLOSE_WAIT_AGE_SECONDS, *matchers)})",
        SECONDS,
        alerts=["CloseWaitStuck"],
    )


def by_process_table(*matchers: str) -> Json:
    """Return a table of CLOSE_WAIT by process, cause, direction and port."""
    labels = {
        "instance": "Host",
        "process": "Process",
        "cause": "Cause",
        "direction": "Direction",
        "port": "Port",
    }
    key = f"job, {', '.join(labels)}"
    connections = f"sum by ({key}) ({selector(catalog.SOCKET_CLOSE_WAIT_SOCKETS, *matchers)})"

    def per_process(expression: str) -> str:
        process_key = "job, instance, process"
        return f"max by ({process_key}) ({expression}) * on ({process_key}) group_right () {connections} ^ 0"

    return table(
        "CLOSE_WAIT by process",
        f"Connections in CLOSE_WAIT by process, cause, direction and service port. {_CAUSES} The "
        "columns from Oldest on refer to the whole process.",
        labels,
        [
            Column("Connections", connections),
            Column(
                "Oldest",
                per_process(selector(catalog.SOCKET_CLOSE_WAIT_OLDEST_AGE_SECONDS)),
                SECONDS,
                thresholds_above("close_wait_age_seconds", TRANSPARENT),
            ),
            Column(
                "Stuck",
                per_process(close_wait_stuck()),
                SHORT,
                thresholds_above("close_wait_stuck_sockets", TRANSPARENT),
            ),
            Column(
                "Growth in 30 min",
                per_process(f"delta({recorded('instance_process:socket_close_wait:without_sending')}[30m])"),
                SHORT,
                decimals=0,
            ),
            Column(
                "Descriptors",
                per_process(selector(catalog.SOCKET_PROCESS_WORST_FD_RATIO)),
                RATIO,
                thresholds_above("descriptors_ratio", TRANSPARENT),
                decimals=0,
            ),
            Column(
                "Time left",
                per_process(seconds_until_fds_exhausted()),
                SECONDS,
                thresholds_below("ephemeral_ports_seconds_left", TRANSPARENT),
            ),
        ],
        data_links={"Host": (TO_HOST,), "Process": (TO_PROCESS,)},
        alerts=["CloseWaitStuck", "CloseWaitGrowing"],
    )
