"""CLOSE_WAIT: whose, why, and for how long."""

from __future__ import annotations

from exporter.metrics import catalog

from ..colours import CAUSES, QUIET, at_threshold, below_threshold
from ..figures import heatmap
from ..panels import RATIO, SECONDS, SHORT, Json, by_name, timeseries
from ..queries import Query, buckets, count, of
from ..tables import Column, table
from .parts import TO_HOST, TO_PROCESS, descriptors_left, stuck


def causes(*matchers: str) -> Json:
    """CLOSE_WAIT by what lacks."""
    return timeseries(
        "CLOSE_WAIT by cause",
        "not_closed: all is read, close() is missing. not_read: the process does not look at the connection. "
        "not_accepted: it did not even take it. sending: it still sends, no leak.",
        [Query(f"sum by (cause) ({of(catalog.SOCKET_CLOSE_WAIT_SOCKETS, *matchers)})", "{{cause}}")],
        SHORT,
        stack=True,
        overrides=by_name(CAUSES),
        alerts=["CloseWaitStuck"],
    )


def ages(*matchers: str) -> Json:
    """CLOSE_WAIT by how long."""
    return heatmap(
        "Ages of CLOSE_WAIT",
        "How many connections have waited for close() for how long. Good programs stay in the lowest line; a "
        "leak "
        "climbs from line to line.",
        f"sum by (le) ({buckets(catalog.SOCKET_CLOSE_WAIT_AGE_SECONDS, *matchers)})",
        SECONDS,
        alerts=["CloseWaitStuck"],
    )


def culprits(*matchers: str) -> Json:
    """Who does not close which connections, and why."""
    labels = {
        "instance": "Host",
        "process": "Process",
        "cause": "Cause",
        "direction": "Direction",
        "port": "Port",
    }
    key = f"job, {', '.join(labels)}"
    held = f"sum by ({key}) ({of(catalog.SOCKET_CLOSE_WAIT_SOCKETS, *matchers)})"

    def of_process(expression: str) -> str:
        same = "job, instance, process"
        return f"max by ({same}) ({expression}) * on ({same}) group_right () {held} ^ 0"

    return table(
        "Who does not close",
        "Connections in CLOSE_WAIT by process, cause, direction and service port. not_closed: a leak, "
        "close() is "
        "missing. not_read, not_accepted: the program hangs. sending: no leak. The columns on the right are "
        "of "
        "the whole process.",
        labels,
        [
            Column("Connections", held),
            Column(
                "Oldest",
                of_process(of(catalog.SOCKET_CLOSE_WAIT_OLDEST_AGE_SECONDS)),
                SECONDS,
                at_threshold("close_wait_age_seconds", QUIET),
            ),
            Column("Stuck", of_process(stuck()), SHORT, at_threshold("close_wait_stuck_sockets", QUIET)),
            Column(
                "In 30 min",
                of_process(f"delta({count(catalog.SOCKET_CLOSE_WAIT_AGE_SECONDS)}[30m])"),
                SHORT,
                decimals=0,
            ),
            Column(
                "Descriptors",
                of_process(of(catalog.SOCKET_PROCESS_WORST_FD_RATIO)),
                RATIO,
                at_threshold("descriptors_ratio", QUIET),
                decimals=0,
            ),
            Column(
                "Time left",
                of_process(descriptors_left()),
                SECONDS,
                below_threshold("ephemeral_ports_seconds_left", QUIET),
            ),
        ],
        links={"Host": (TO_HOST,), "Process": (TO_PROCESS,)},
        alerts=["CloseWaitStuck", "CloseWaitGrowing"],
    )
