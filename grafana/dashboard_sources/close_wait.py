"""Panels about unclosed connections, in CLOSE_WAIT or dead: processes, causes and ages."""

from __future__ import annotations

from typing import Final

from exporter.metrics import catalog

from ..colors import CAUSES, DEAD_FDS, TRANSPARENT, thresholds_above, thresholds_below
from ..panels import RATIO, SECONDS, SHORT, Json, color_by_series, heatmap, timeseries
from ..queries import Query, bucket_selector, recorded, selector, union
from ..tables import Column, table
from .shared import TO_HOST, TO_PROCESS, handles, seconds_until_fds_exhausted, stuck

_CAUSES: Final = (
    "not_closed: everything is read, close() is missing, or a response is still being computed. not_read: "
    "the process does not read the connection. not_accepted: the process has not accepted it. sending: the "
    "process still sends; no leak, not in Stuck and Growth. unknown: the socket source cannot tell. "
    "dead (lost): keepalive or a reset has removed the connection, but the descriptor is still open. "
    "dead (unknown): a descriptor without a connection, perhaps never connected; not in Stuck and Growth."
)


def unclosed(*matchers: str) -> str:
    """Return connections in CLOSE_WAIT, and dead file descriptors with a cause of their own."""

    def dead(connection: str) -> str:
        series = selector(catalog.SOCKET_DEAD_FDS, f'connection="{connection}"', *matchers)
        return f'label_replace({series}, "cause", "dead ({connection})", "", "")'

    close_wait = selector(catalog.SOCKET_CLOSE_WAIT_SOCKETS, *matchers)
    return " or ".join((close_wait, dead("lost"), dead("unknown")))


def causes(*matchers: str) -> Json:
    """Return a graph of unclosed connections by cause."""
    return timeseries(
        "CLOSE_WAIT and dead descriptors by cause",
        _CAUSES,
        [Query(f"sum by (cause) ({unclosed(*matchers)})", "{{cause}}")],
        SHORT,
        stack=True,
        overrides=color_by_series(CAUSES | DEAD_FDS),
        alerts=["CloseWaitStuck"],
    )


def ages(*matchers: str) -> Json:
    """Return a heatmap of the ages of unclosed connections."""
    buckets = union(
        bucket_selector(catalog.SOCKET_CLOSE_WAIT_AGE_SECONDS, *matchers),
        bucket_selector(catalog.SOCKET_DEAD_FDS_AGE_SECONDS, *matchers),
    )
    return heatmap(
        "Ages of CLOSE_WAIT and dead descriptors",
        "Number of connections by time since the peer closed, and of dead file descriptors by time since "
        "they were found dead. Healthy programs stay in the lowest bucket; a leak moves from bucket to "
        "bucket.",
        f"sum by (le) ({buckets})",
        SECONDS,
        alerts=["CloseWaitStuck"],
    )


def by_process_table(*matchers: str) -> Json:
    """Return a table of unclosed connections by process, cause, direction and port."""
    labels = {
        "instance": "Host",
        "process": "Process",
        "cause": "Cause",
        "direction": "Direction",
        "port": "Port",
    }
    key = f"job, {', '.join(labels)}"
    sockets = f"sum by ({key}) ({unclosed(*matchers)})"

    def per_process(expression: str) -> str:
        process_key = "job, instance, process"
        return f"max by ({process_key}) ({expression}) * on ({process_key}) group_right () {sockets} ^ 0"

    return table(
        "CLOSE_WAIT and dead descriptors by process",
        "Connections in CLOSE_WAIT by process, cause, direction and service port; dead file descriptors by "
        f"process. {_CAUSES} The columns from Oldest CLOSE_WAIT on refer to the whole process; Stuck and "
        "Growth take both together. Handles: on Windows, which has neither dead descriptors nor a limit of "
        "descriptors.",
        labels,
        [
            Column("Sockets", sockets),
            Column(
                "Oldest CLOSE_WAIT",
                per_process(selector(catalog.SOCKET_CLOSE_WAIT_OLDEST_AGE_SECONDS)),
                SECONDS,
                thresholds_above("close_wait_age_seconds", TRANSPARENT),
            ),
            Column(
                "Stuck",
                per_process(stuck()),
                SHORT,
                thresholds_above("close_wait_stuck_sockets", TRANSPARENT),
            ),
            Column(
                "Growth in 30 min",
                per_process(f"delta({recorded('instance_process:socket_unclosed:sum')}[30m])"),
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
            Column("Handles", per_process(handles())),
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
