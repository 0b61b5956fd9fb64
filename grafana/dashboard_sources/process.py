"""Sockets: process. For the developer or operator of one program."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from exporter.metrics import catalog

from .. import rules
from ..colors import CLOSE_WAIT, STATES
from ..dashboard import PROCESS, dashboard, process_variable, row
from ..panels import (
    BYTES,
    RATIO,
    SECONDS,
    SHORT,
    Json,
    color_by_column,
    color_by_series,
    stat,
    text_panel,
    timeseries,
)
from ..queries import SELECTED_PROCESS, Query, gcount_selector, recorded, selector
from ..tables import Column, pivot_table, table
from .alerts import firing_stat, firing_table
from .close_wait import ages, causes, unclosed
from .host import remote_ports
from .listeners import listeners_table
from .shared import TO_HOST, handles, seconds_until_fds_exhausted, stuck
from .stat_rows import oldest_stat, ratio_stat, stuck_stat, time_left_stat

CAUSES_MARKDOWN: Final = (Path(__file__).parent / "causes.md").read_text(encoding="utf-8")


def _causes_table() -> Json:
    labels = {"instance": "Host", "cause": "Cause", "direction": "Direction", "port": "Port"}
    key = f"job, {', '.join(labels)}"
    return table(
        "Current CLOSE_WAIT and dead descriptors",
        "Connections in CLOSE_WAIT by cause, direction and service port; dead file descriptors.",
        labels,
        [
            Column("Sockets", f"sum by ({key}) ({unclosed(SELECTED_PROCESS)})", SHORT),
        ],
        data_links={"Host": (TO_HOST,)},
        alerts=["CloseWaitStuck"],
    )


def _growth() -> Json:
    dead = recorded("instance_process:socket_dead_fds:lost", SELECTED_PROCESS)
    minimum = recorded("instance_process:socket_unclosed:min10m", SELECTED_PROCESS)
    return timeseries(
        "Does it leak?",
        "The 10-minute minimum, of CLOSE_WAIT and dead descriptors together, ignores bursts. If it grows, "
        "the process leaks connections. With keepalive, CLOSE_WAIT stays level and dead descriptors grow.",
        [
            Query(
                f"sum({gcount_selector(catalog.SOCKET_CLOSE_WAIT_AGE_SECONDS, SELECTED_PROCESS)})",
                "in CLOSE_WAIT",
            ),
            Query(f"sum({dead})", "dead descriptors"),
            Query(f"sum({minimum})", "both, 10-minute minimum"),
            Query(f"sum({stuck(SELECTED_PROCESS)})", "both, older than the threshold"),
        ],
        SHORT,
        thresholds="close_wait_stuck_sockets",
        color=CLOSE_WAIT,
        alerts=["CloseWaitGrowing", "CloseWaitStuck"],
    )


def _oldest() -> Json:
    return timeseries(
        "Age of the oldest",
        "Time since the peer closed, of the oldest connection in CLOSE_WAIT; time since it was found, of the "
        "oldest dead file descriptor. If a line rises by one second per second, it is the same one all the "
        "time.",
        [
            Query(
                "max by (instance) "
                f"({selector(catalog.SOCKET_CLOSE_WAIT_OLDEST_AGE_SECONDS, SELECTED_PROCESS)})",
                "CLOSE_WAIT on {{instance}}",
            ),
            Query(
                "max by (instance) "
                f"({selector(catalog.SOCKET_DEAD_FDS_OLDEST_AGE_SECONDS, SELECTED_PROCESS)})",
                "dead descriptor on {{instance}}",
            ),
        ],
        SECONDS,
        color=CLOSE_WAIT,
        thresholds="close_wait_age_seconds",
        alerts=["CloseWaitStuck"],
    )


def _states() -> Json:
    return timeseries(
        "Sockets by state",
        "Sockets that the process owns, and TIME_WAIT sockets attributed to it.",
        [Query(f"sum by (state) ({selector(catalog.SOCKET_STATES, SELECTED_PROCESS)})", "{{state}}")],
        SHORT,
        stack=True,
        overrides=color_by_series(STATES),
    )


def _local_ports() -> Json:
    return pivot_table(
        "Local ports by state",
        "Inbound connections by the port that accepted them.",
        f"sum by (local_port, state) ({selector(catalog.SOCKET_LISTENER_STATES, SELECTED_PROCESS)} > 0)",
        ("local_port", "Local port"),
        "state",
        color_by_column(STATES),
    )


def _descriptors() -> Json:
    share = recorded("instance_process:socket_unclosed_descriptors:ratio", SELECTED_PROCESS)
    return timeseries(
        "File descriptor usage",
        "open: ratio of open file descriptors to their limit, for the worst process of that name. unclosed: "
        "share of the open descriptors that CLOSE_WAIT (except sending) and dead ones hold. Empty on "
        "Windows, which has no such limit: see the handles.",
        [
            Query(
                f"max by (instance) ({selector(catalog.SOCKET_PROCESS_WORST_FD_RATIO, SELECTED_PROCESS)})",
                "open on {{instance}}",
            ),
            Query(f"max by (instance) ({share})", "unclosed on {{instance}}"),
        ],
        RATIO,
        thresholds="descriptors_ratio",
        alerts=["CloseWaitDescriptorsRunningOut"],
    )


def _handles() -> Json:
    return timeseries(
        "Open handles",
        "Windows only: sockets, files and other objects, of all processes of that name. If the number only "
        "grows, the process leaks.",
        [
            Query(
                f"sum by (instance) ({handles(SELECTED_PROCESS)})",
                "handles on {{instance}}",
            )
        ],
        SHORT,
        thresholds="handles",
        alerts=["ProcessHandlesGrowing"],
    )


def _queue_bytes() -> Json:
    return timeseries(
        "Queue bytes",
        "unread: received, and not read by the process, which hangs or is slow. unsent: not acknowledged by "
        "the peer. Empty on Windows, which does not tell.",
        [
            Query(f"sum({selector(catalog.SOCKET_RECEIVE_QUEUE_BYTES, SELECTED_PROCESS)})", "unread"),
            Query(f"sum({selector(catalog.SOCKET_SEND_QUEUE_BYTES, SELECTED_PROCESS)})", "unsent"),
        ],
        BYTES,
        overrides=color_by_series({"unread": "purple", "unsent": "blue"}),
    )


def _stat_row() -> tuple[tuple[int, Json], ...]:
    established = selector(catalog.SOCKET_STATES, 'state="established"', SELECTED_PROCESS)
    return (
        (3, firing_stat("critical", SELECTED_PROCESS)),
        (3, firing_stat("warning", SELECTED_PROCESS)),
        (3, stuck_stat(SELECTED_PROCESS)),
        (3, oldest_stat(SELECTED_PROCESS)),
        (
            3,
            time_left_stat(
                seconds_until_fds_exhausted(SELECTED_PROCESS), "its file descriptors (unknown on Windows)"
            ),
        ),
        (
            3,
            ratio_stat(
                "Descriptors",
                "Ratio of open file descriptors to their limit, for the worst process of that name. Unknown "
                "on Windows, which has no such limit.",
                selector(catalog.SOCKET_PROCESS_WORST_FD_RATIO, SELECTED_PROCESS),
                "descriptors_ratio",
                "CloseWaitDescriptorsRunningOut",
            ),
        ),
        (
            3,
            stat(
                "Open descriptors",
                "Open file descriptors, on Windows open handles, of all processes of that name.",
                f"sum({selector(catalog.SOCKET_PROCESS_OPEN_FDS, SELECTED_PROCESS)} "
                f"or {handles(SELECTED_PROCESS)})",
                SHORT,
                no_value="unknown",
            ),
        ),
        (
            3,
            stat(
                "Established",
                "Connections that neither side has closed.",
                f"sum({established})",
                SHORT,
            ),
        ),
    )


def process_dashboard() -> Json:
    """Return the dashboard `Sockets: process`."""
    return dashboard(
        PROCESS,
        "Sockets: process",
        "The sockets of one process, for its developer or operator.",
        [
            row(4, *_stat_row()),
            row(
                16,
                (
                    11,
                    text_panel(
                        "Causes of CLOSE_WAIT",
                        "The meaning of each cause of CLOSE_WAIT, and of dead file descriptors.",
                        CAUSES_MARKDOWN.replace("RUNBOOK", rules.runbook_url("CloseWaitStuck")),
                    ),
                ),
                (13, causes(SELECTED_PROCESS)),
            ),
            row(9, (8, _causes_table()), (8, _growth()), (8, ages(SELECTED_PROCESS))),
            row(9, (12, _states()), (12, remote_ports(SELECTED_PROCESS))),
            row(9, (6, _descriptors()), (6, _handles()), (6, _oldest()), (6, _queue_bytes())),
            row(9, (10, _local_ports()), (14, listeners_table(SELECTED_PROCESS))),
            row(7, (24, firing_table(SELECTED_PROCESS))),
        ],
        [process_variable()],
    )
