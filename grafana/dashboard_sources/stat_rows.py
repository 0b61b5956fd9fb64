"""Stats at the top of the dashboards."""

from __future__ import annotations

from exporter.metrics import catalog

from ..colors import thresholds_above, thresholds_below
from ..panels import RATIO, SECONDS, SHORT, Json, stat
from ..queries import Query, recorded, selector
from .alerts import firing_stat
from .shared import (
    handles,
    ports_unavailable_ratio,
    seconds_until_fds_exhausted,
    seconds_until_ports_exhausted,
    stuck,
    time_wait_without_limit,
)


def stuck_stat(*matchers: str) -> Json:
    """Return a stat with the unclosed sockets that are stuck, of the worst process."""
    return stat(
        "Stuck sockets",
        "Connections in CLOSE_WAIT, and dead file descriptors (lost), for longer than the alert threshold "
        "(5 minutes by default), of the worst process.",
        f"max({stuck(*matchers)})",
        SHORT,
        thresholds=thresholds_above("close_wait_stuck_sockets"),
        alerts=["CloseWaitStuck"],
    )


def oldest_stat(*matchers: str) -> Json:
    """Return a stat with the age of the oldest CLOSE_WAIT."""
    return stat(
        "Oldest CLOSE_WAIT",
        "Time since the peer closed, of the connection that has waited longest for close(). Healthy "
        "programs close within seconds. With keepalive a connection is removed after a minute or two; its "
        "descriptor, still open, then counts in Stuck sockets.",
        f"max({selector(catalog.SOCKET_CLOSE_WAIT_OLDEST_AGE_SECONDS, *matchers)})",
        SECONDS,
        thresholds=thresholds_above("close_wait_age_seconds"),
        no_value="none",
        alerts=["CloseWaitStuck"],
    )


def time_left_stat(expression: str, limit: str) -> Json:
    """Return a stat with the shortest time until `limit` is exhausted."""
    return stat(
        "Time left",
        f"Shortest time until {limit} run out, extrapolated from the last minutes. No growth: no value "
        "grows, or only values at the usual level after a start.",
        f"min({expression})",
        SECONDS,
        thresholds=thresholds_below("ephemeral_ports_seconds_left"),
        no_value="no growth",
        alerts=["CloseWaitDescriptorsRunningOut", "EphemeralPortsExhaustedSoon"],
    )


def ratio_stat(
    title: str,
    description: str,
    expression: str,
    threshold: str,
    *alerts: str,
    count: Query | None = None,
) -> Json:
    """Return a stat with the usage of a limit, of the worst case.

    count: the number to display for hosts without that limit.
    """
    return stat(
        title,
        description,
        f"max({expression})",
        RATIO,
        thresholds=thresholds_above(threshold),
        no_value="unknown",
        decimals=0,
        count=count,
        alerts=alerts,
    )


def host_stat_row() -> tuple[tuple[int, Json], ...]:
    """Return the stats of the fleet and host dashboards: the worst of all selected hosts."""
    exhausted = f"{seconds_until_fds_exhausted()} or {seconds_until_ports_exhausted()}"
    return (
        (3, firing_stat("critical")),
        (3, firing_stat("warning")),
        (3, stuck_stat()),
        (3, oldest_stat()),
        (3, time_left_stat(exhausted, "file descriptors of a process, or ports towards a destination,")),
        (
            3,
            ratio_stat(
                "Descriptors",
                "Ratio of open file descriptors to their limit, for the worst process with TCP sockets. On "
                "Windows, which has no such limit, the open handles of the process with most of them.",
                selector(catalog.SOCKET_PROCESS_WORST_FD_RATIO),
                "descriptors_ratio",
                "CloseWaitDescriptorsRunningOut",
                count=Query(f"max({handles()})", "handles", "instant"),
            ),
        ),
        (
            3,
            ratio_stat(
                "Ephemeral ports",
                "Ratio of ephemeral ports that connect() cannot use, towards the busiest destination.",
                ports_unavailable_ratio(),
                "ephemeral_ports_ratio",
                "EphemeralPortsNearExhaustion",
            ),
        ),
        (
            3,
            ratio_stat(
                "TIME_WAIT",
                "Ratio of TIME_WAIT sockets to tcp_max_tw_buckets. On Windows, which has no such limit, "
                "their number: each takes a dynamic port.",
                recorded("instance:socket_time_wait:ratio"),
                "time_wait_ratio",
                "TimeWaitNearLimit",
                count=Query(f"max({time_wait_without_limit()})", "sockets", "instant"),
            ),
        ),
    )
