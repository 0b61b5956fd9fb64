"""Sockets: fleet. Which hosts are in trouble now, and which will be."""

from __future__ import annotations

from typing import Final

from exporter.metrics import catalog

from ..board import FLEET, board, heading, row
from ..colours import CLOSE_WAIT, QUIET, STATES, TIME_WAIT, at_threshold, below_threshold
from ..panels import PER_SECOND, RATIO, SECONDS, SHORT, Json, by_name, timeseries
from ..queries import Query, of, recorded, worst
from ..tables import Column, table
from .alerts import firing_table
from .parts import (
    SERIES_TO_HOST,
    TO_HOST,
    TO_PROCESS,
    descriptors_left,
    ports_left,
    ports_taken,
    queue_ratio,
)
from .tiles import tiles

LINES: Final = 10
"""Hosts in a graph: the worst of the range shown."""


def _by_host(expression: str) -> str:
    return f"max by (job, instance) ({expression})"


def _hosts() -> Json:
    """A line for each host, with its distance to each limit."""
    stuck = recorded("instance:socket_close_wait:older_than_threshold")
    left = f"min by (job, instance) ({descriptors_left()} or {ports_left()})"
    return table(
        "Hosts, worst first",
        "Click a host to see whose sockets they are. A limit that the host does not tell has an empty cell.",
        {"instance": "Host"},
        [
            Column(
                "Oldest CLOSE_WAIT",
                _by_host(of(catalog.SOCKET_CLOSE_WAIT_OLDEST_AGE_SECONDS)),
                SECONDS,
                at_threshold("close_wait_age_seconds", QUIET),
            ),
            Column(
                "CLOSE_WAIT stuck", _by_host(stuck), SHORT, at_threshold("close_wait_stuck_sockets", QUIET)
            ),
            Column("Time left", left, SECONDS, below_threshold("ephemeral_ports_seconds_left", QUIET)),
            _part("Descriptors", of(catalog.SOCKET_PROCESS_WORST_FD_RATIO), "descriptors_ratio"),
            _part("Accept queue", queue_ratio(), "accept_queue_ratio"),
            _part("Ports to one destination", ports_taken(), "ephemeral_ports_ratio"),
            _part(
                "Ports of one address",
                recorded("instance:socket_ephemeral_ports_bound:ratio"),
                "ephemeral_ports_bound_ratio",
            ),
            _part("TIME_WAIT", recorded("instance:socket_time_wait:ratio"), "time_wait_ratio"),
            Column("Sockets", f"sum by (job, instance) ({of(catalog.SOCKET_HOST_STATES)})"),
        ],
        links={"Host": (TO_HOST,)},
    )


def _part(name: str, expression: str, threshold: str) -> Column:
    return Column(name, _by_host(expression), RATIO, at_threshold(threshold, QUIET), decimals=0)


def _soonest() -> Json:
    """What runs out, in the order of time."""
    descriptors = f'label_replace({descriptors_left()}, "limit", "file descriptors", "", "")'
    ports = f'label_replace({ports_left()}, "limit", "ports towards a destination", "", "")'
    labels = {
        "instance": "Host",
        "limit": "Runs out of",
        "process": "Process",
        "remote_address": "Towards",
        "remote_port": "Remote port",
    }
    return table(
        "What runs out next",
        "Until the last one is taken, were it to go on as in the last quarter of an hour (ports: ten "
        "minutes). "
        "Only what rises, and has taken more than a start does. A line drawn for days ahead rarely holds.",
        labels,
        [
            Column(
                "Time left",
                f"min by (job, {', '.join(labels)}) ({descriptors} or {ports})",
                SECONDS,
                below_threshold("ephemeral_ports_seconds_left", QUIET),
            )
        ],
        links={"Host": (TO_HOST,), "Process": (TO_PROCESS,)},
        ascending=True,
        alerts=["CloseWaitDescriptorsRunningOut", "EphemeralPortsExhaustedSoon"],
    )


def _trend(title: str, description: str, expression: str, unit: str, **more: object) -> Json:
    """The worst hosts of the range shown."""
    return timeseries(
        title,
        f"{description} The {LINES} worst hosts of the time shown.",
        [Query(worst(LINES, expression), "{{instance}}")],
        unit,
        data_links=[SERIES_TO_HOST],
        **more,
    )


def _close_wait() -> Json:
    return _trend(
        "CLOSE_WAIT stuck, by host",
        "Connections that the other side closed longer ago than the threshold, and nobody here.",
        recorded("instance:socket_close_wait:older_than_threshold"),
        SHORT,
        colour=CLOSE_WAIT,
        alerts=["CloseWaitStuck", "CloseWaitGrowing"],
    )


def _descriptors() -> Json:
    return _trend(
        "Descriptors of the worst process, by host",
        "Open file descriptors against their limit.",
        of(catalog.SOCKET_PROCESS_WORST_FD_RATIO),
        RATIO,
        levels="descriptors_ratio",
        alerts=["CloseWaitDescriptorsRunningOut"],
    )


def _ports() -> Json:
    return _trend(
        "Ports towards the fullest destination, by host",
        "Ephemeral ports that connect() cannot have, against all.",
        ports_taken(),
        RATIO,
        levels="ephemeral_ports_ratio",
        alerts=["EphemeralPortsNearExhaustion", "EphemeralPortsExhaustedSoon"],
    )


def _time_wait() -> Json:
    return _trend(
        "TIME_WAIT against its limit, by host",
        "Sockets in TIME_WAIT against tcp_max_tw_buckets.",
        recorded("instance:socket_time_wait:ratio"),
        RATIO,
        colour=TIME_WAIT,
        levels="time_wait_ratio",
        alerts=["TimeWaitNearLimit", "TimeWaitOverflow"],
    )


def _overflows() -> Json:
    return _trend(
        "Connections refused, by host",
        "A second, because an accept queue was full.",
        recorded("instance:socket_kernel_listen_overflows:rate5m"),
        PER_SECOND,
        levels="listen_overflows_per_second",
        alerts=["ListenOverflows"],
    )


def _states() -> Json:
    return timeseries(
        "Sockets of all hosts, by state",
        "Of all hosts chosen.",
        [Query(f"sum by (state) ({of(catalog.SOCKET_HOST_STATES)})", "{{state}}")],
        SHORT,
        stack=True,
        overrides=by_name(STATES),
    )


def fleet() -> Json:
    """The board."""
    return board(
        FLEET,
        "Sockets: fleet",
        "Which hosts are in trouble now, and which will be. Click a host to see whose sockets they are.",
        [
            row(4, *tiles()),
            row(7, (14, firing_table()), (10, _soonest())),
            row(9, (24, _hosts())),
            heading("Trends"),
            row(9, (12, _close_wait()), (12, _descriptors())),
            row(9, (12, _ports()), (12, _time_wait())),
            row(9, (12, _overflows()), (12, _states())),
        ],
        since="6h",
    )
