"""Sockets: host. Who leaks, towards where, and how long it can go on."""

from __future__ import annotations

from exporter.metrics import catalog

from ..board import HOST, board, heading, row
from ..colours import CLOSE_WAIT, STATES
from ..panels import BYTES, RATIO, SHORT, Json, by_name, matrix_colours, timeseries
from ..queries import Query, count, of, worst
from ..tables import matrix
from .alerts import firing_table
from .close_wait import ages, causes, culprits
from .courses import LINES, WORST, by_process
from .kernel import aborts, limits, refused
from .listeners import listeners, queues
from .parts import SERIES_TO_PROCESS
from .ports import destinations, ports
from .tiles import tiles
from .time_wait import methods, owners, rates


def _close_wait() -> Json:
    return by_process(
        "CLOSE_WAIT by process",
        "Connections that the other side closed and the process did not. A line that only rises is a leak.",
        count(catalog.SOCKET_CLOSE_WAIT_AGE_SECONDS),
        SHORT,
        colour=CLOSE_WAIT,
        alerts=["CloseWaitGrowing"],
    )


def _states() -> Json:
    return timeseries(
        "Sockets by state",
        "All TCP sockets of the hosts chosen.",
        [Query(f"sum by (state) ({of(catalog.SOCKET_HOST_STATES)})", "{{state}}")],
        SHORT,
        stack=True,
        overrides=by_name(STATES),
    )


def remote_ports(*matchers: str) -> Json:
    """Sockets by where they lead."""
    return matrix(
        "Remote ports by state",
        "Sockets by the port that is called. inbound: accepted by a listener here; none: not connected; "
        "other: "
        "the smallest, folded.",
        f"sum by (remote_port, state) ({of(catalog.SOCKET_STATES, *matchers)} > 0)",
        ("remote_port", "Remote port"),
        "state",
        matrix_colours(STATES),
    )


def _descriptors() -> Json:
    return by_process(
        "Descriptors against their limit, by process",
        "Of the worst process of each name. At 1 it can accept and open nothing more.",
        of(catalog.SOCKET_PROCESS_WORST_FD_RATIO),
        RATIO,
        levels="descriptors_ratio",
        alerts=["CloseWaitDescriptorsRunningOut"],
    )


def _unread() -> Json:
    by = "job, instance, process"
    return timeseries(
        "Bytes in queues, by process",
        f"Unread: arrived, and the process has not read them. Unsent: the other side has not confirmed them. "
        f"{WORST}",
        [
            Query(
                worst(LINES, of(catalog.SOCKET_RECEIVE_QUEUE_BYTES), by),
                "unread: {{process}} on {{instance}}",
            ),
            Query(
                worst(LINES, of(catalog.SOCKET_SEND_QUEUE_BYTES), by), "unsent: {{process}} on {{instance}}"
            ),
        ],
        BYTES,
        data_links=[SERIES_TO_PROCESS],
    )


def host() -> Json:
    """The board."""
    return board(
        HOST,
        "Sockets: host",
        "Who leaks, towards where, and how long it can go on. Click a process for everything about it.",
        [
            row(4, *tiles()),
            row(8, (15, culprits()), (9, firing_table())),
            row(9, (8, _close_wait()), (8, causes()), (8, ages())),
            heading("Sockets"),
            row(10, (12, _states()), (12, remote_ports())),
            heading("Listeners"),
            row(9, (14, listeners()), (10, queues())),
            heading("Ports to connect from"),
            row(9, (12, destinations()), (12, ports())),
            heading("TIME_WAIT"),
            row(9, (8, owners()), (8, methods()), (8, rates())),
            heading("Descriptors and queues"),
            row(9, (12, _descriptors()), (12, _unread())),
            heading("Kernel"),
            row(9, (8, refused()), (8, aborts()), (8, limits())),
        ],
    )
