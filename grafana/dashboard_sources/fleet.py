"""Sockets: fleet. Hosts with problems now, and hosts about to exhaust a limit."""

from __future__ import annotations

from collections.abc import Sequence

from exporter.metrics import catalog

from ..colors import CLOSE_WAIT, PALETTE, TIME_WAIT, TRANSPARENT, thresholds_above, thresholds_below
from ..dashboard import FLEET, dashboard, row, row_header
from ..panels import PER_SECOND, RATIO, SECONDS, SHORT, Json, timeseries
from ..queries import Query, recorded, selector, topk_over_range
from ..tables import Column, table
from .alerts import firing_table
from .shared import (
    SERIES_TO_HOST,
    TO_HOST,
    TO_PROCESS,
    TOP,
    accept_queue_ratio,
    handles,
    ports_unavailable_ratio,
    seconds_until_fds_exhausted,
    seconds_until_ports_exhausted,
    sockets_by_state,
)
from .stat_rows import host_stat_row


def _by_host(expression: str) -> str:
    return f"max by (job, instance) ({expression})"


def _hosts_table() -> Json:
    """Return a table of hosts with their usage of each limit."""
    stuck = recorded("instance:socket_unclosed:older_than_threshold")
    exhausted = f"{seconds_until_fds_exhausted()} or {seconds_until_ports_exhausted()}"
    return table(
        "Hosts, worst first",
        "Click a host for its processes. A cell is empty if the limit of the host is unknown. Stuck sockets: "
        "connections in CLOSE_WAIT, and dead file descriptors (lost), for longer than the threshold. "
        "Handles: on Windows, of the process with most of them; it has no limit of descriptors.",
        {"instance": "Host"},
        [
            Column(
                "Oldest CLOSE_WAIT",
                _by_host(selector(catalog.SOCKET_CLOSE_WAIT_OLDEST_AGE_SECONDS)),
                SECONDS,
                thresholds_above("close_wait_age_seconds", TRANSPARENT),
            ),
            Column(
                "Stuck sockets",
                _by_host(stuck),
                SHORT,
                thresholds_above("close_wait_stuck_sockets", TRANSPARENT),
            ),
            Column(
                "Time left",
                f"min by (job, instance) ({exhausted})",
                SECONDS,
                thresholds_below("ephemeral_ports_seconds_left", TRANSPARENT),
            ),
            _ratio_column(
                "Descriptors", selector(catalog.SOCKET_PROCESS_WORST_FD_RATIO), "descriptors_ratio"
            ),
            Column("Handles", _by_host(handles())),
            _ratio_column("Accept queue", accept_queue_ratio(), "accept_queue_ratio"),
            _ratio_column("Ports to one destination", ports_unavailable_ratio(), "ephemeral_ports_ratio"),
            _ratio_column(
                "Ports of one address",
                recorded("instance:socket_ephemeral_ports_bound:ratio"),
                "ephemeral_ports_bound_ratio",
            ),
            _ratio_column("TIME_WAIT", recorded("instance:socket_time_wait:ratio"), "time_wait_ratio"),
            Column("Sockets", f"sum by (job, instance) ({selector(catalog.SOCKET_HOST_STATES)})"),
        ],
        data_links={"Host": (TO_HOST,)},
    )


def _ratio_column(name: str, expression: str, threshold: str) -> Column:
    return Column(name, _by_host(expression), RATIO, thresholds_above(threshold, TRANSPARENT), decimals=0)


def _next_exhausted() -> Json:
    """Return a table of limits that will be exhausted, the next first."""
    descriptors = f'label_replace({seconds_until_fds_exhausted()}, "limit", "file descriptors", "", "")'
    unclosed = recorded("instance_process:socket_unclosed_descriptors:ratio", 'process!="other"')
    of_descriptors = f"{descriptors} ^ 0 * on (job, instance, process) group_left () {unclosed}"
    ports = (
        f'label_replace({seconds_until_ports_exhausted()}, "limit", "ports towards a destination", "", "")'
    )
    labels = {
        "instance": "Host",
        "limit": "Limit",
        "process": "Process",
        "remote_address": "Towards",
        "remote_port": "Remote port",
    }
    return table(
        "Next exhausted limits",
        "Time until a limit is reached, extrapolated from the last 15 minutes (ports: 10 minutes). Only "
        "values that grow and are above the usual level after a start. An extrapolation over days is rarely "
        "right. Unclosed: share of the open descriptors that CLOSE_WAIT (except sending) and dead ones hold; "
        "if it is large, they are why.",
        labels,
        [
            Column(
                "Time left",
                f"min by (job, {', '.join(labels)}) ({descriptors} or {ports})",
                SECONDS,
                thresholds_below("ephemeral_ports_seconds_left", TRANSPARENT),
            ),
            Column(
                "Unclosed",
                f"max by (job, {', '.join(labels)}) ({of_descriptors})",
                RATIO,
                thresholds_above("close_wait_descriptors_ratio", TRANSPARENT),
                decimals=0,
            ),
        ],
        data_links={"Host": (TO_HOST,), "Process": (TO_PROCESS,)},
        ascending=True,
        alerts=["CloseWaitDescriptorsRunningOut", "EphemeralPortsExhaustedSoon"],
    )


def _top_hosts(
    title: str,
    description: str,
    expression: str,
    unit: str,
    *,
    color: str = PALETTE,
    thresholds: str | None = None,
    alerts: Sequence[str] = (),
) -> Json:
    """Return a graph of the hosts with the highest values within the displayed range."""
    return timeseries(
        title,
        f"{description} Top {TOP} hosts of the displayed range.",
        [Query(topk_over_range(TOP, expression), "{{instance}}")],
        unit,
        color=color,
        thresholds=thresholds,
        data_links=[SERIES_TO_HOST],
        alerts=alerts,
    )


def _stuck() -> Json:
    return _top_hosts(
        "Stuck sockets by host",
        "Connections in CLOSE_WAIT, and dead file descriptors, for longer than the threshold.",
        recorded("instance:socket_unclosed:older_than_threshold"),
        SHORT,
        color=CLOSE_WAIT,
        alerts=["CloseWaitStuck", "CloseWaitGrowing"],
    )


def _descriptors() -> Json:
    return _top_hosts(
        "File descriptor usage of the worst process by host",
        "Ratio of open file descriptors to their limit. Without hosts with Windows, which has no such limit.",
        selector(catalog.SOCKET_PROCESS_WORST_FD_RATIO),
        RATIO,
        thresholds="descriptors_ratio",
        alerts=["CloseWaitDescriptorsRunningOut"],
    )


def _ports() -> Json:
    return _top_hosts(
        "Ephemeral port usage of the busiest destination by host",
        "Ratio of ephemeral ports that connect() cannot use.",
        ports_unavailable_ratio(),
        RATIO,
        thresholds="ephemeral_ports_ratio",
        alerts=["EphemeralPortsNearExhaustion", "EphemeralPortsExhaustedSoon"],
    )


def _time_wait() -> Json:
    return _top_hosts(
        "TIME_WAIT usage by host",
        "Ratio of TIME_WAIT sockets to tcp_max_tw_buckets. Without hosts with Windows, which has no such "
        "limit.",
        recorded("instance:socket_time_wait:ratio"),
        RATIO,
        color=TIME_WAIT,
        thresholds="time_wait_ratio",
        alerts=["TimeWaitNearLimit", "TimeWaitOverflow"],
    )


def _overflows() -> Json:
    return _top_hosts(
        "Accept queue overflows by host",
        "Connections per second dropped because an accept queue was full. Without hosts with Windows, which "
        "does not count them.",
        recorded("instance:socket_kernel_listen_overflows:rate5m"),
        PER_SECOND,
        thresholds="listen_overflows_per_second",
        alerts=["ListenOverflows"],
    )


def fleet_dashboard() -> Json:
    """Return the dashboard `Sockets: fleet`."""
    return dashboard(
        FLEET,
        "Sockets: fleet",
        "Hosts with problems now, and hosts about to exhaust a limit. Click a host for its processes.",
        [
            row(4, *host_stat_row()),
            row(7, (14, firing_table()), (10, _next_exhausted())),
            row(9, (24, _hosts_table())),
            row_header("Trends"),
            row(9, (12, _stuck()), (12, _descriptors())),
            row(9, (12, _ports()), (12, _time_wait())),
            row(9, (12, _overflows()), (12, sockets_by_state())),
        ],
        default_range="6h",
    )
