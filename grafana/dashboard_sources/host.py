"""Sockets: host. Processes that leak, destinations, and the usage of limits."""

from __future__ import annotations

from exporter.metrics import catalog

from ..colors import CLOSE_WAIT, STATES
from ..dashboard import HOST, dashboard, row, row_header
from ..panels import BYTES, RATIO, SHORT, Json, color_by_column, timeseries
from ..queries import Query, recorded, selector, topk_over_range
from ..tables import pivot_table
from .alerts import firing_table
from .close_wait import ages, by_process_table, causes
from .kernel import aborts, dropped_connections, failed_connections, limits
from .listeners import accept_queues, listeners_table
from .ports import destinations_table, ports
from .print_server import print_server_row, print_server_variable
from .shared import SERIES_TO_PROCESS, TOP, TOP_NOTE, handles, sockets_by_state, top_processes
from .stat_rows import host_stat_row
from .time_wait import by_method, by_process, rates


def _unclosed() -> Json:
    return top_processes(
        "Unclosed connections by process",
        "Connections that the peer has ended and the process has not closed: in CLOSE_WAIT (except sending), "
        "or dead file descriptors (lost). Steady growth is a leak.",
        recorded("instance_process:socket_unclosed:sum"),
        SHORT,
        color=CLOSE_WAIT,
        alerts=["CloseWaitGrowing"],
    )


def remote_ports(*matchers: str) -> Json:
    """Return a table of sockets by remote port and state."""
    return pivot_table(
        "Remote ports by state",
        "Outbound sockets by remote port. inbound: accepted by a local listener. none: not connected. "
        "other: the smallest, aggregated.",
        f"sum by (remote_port, state) ({selector(catalog.SOCKET_STATES, *matchers)} > 0)",
        ("remote_port", "Remote port"),
        "state",
        color_by_column(STATES),
    )


def _descriptors() -> Json:
    return top_processes(
        "File descriptor usage by process",
        "Ratio of open file descriptors to their limit, for the worst process of each name. At 1 a process "
        "can no longer accept connections or open files. Empty on Windows, which has no such limit: see the "
        "handles.",
        selector(catalog.SOCKET_PROCESS_WORST_FD_RATIO),
        RATIO,
        thresholds="descriptors_ratio",
        alerts=["CloseWaitDescriptorsRunningOut"],
    )


def _handles() -> Json:
    return top_processes(
        "Open handles by process",
        "Windows only: sockets, files and other objects. A process leaks if its number only grows. Outbound "
        "connections that fail often go with more than 10,000. SQL Server may have that many by design.",
        handles(),
        SHORT,
        thresholds="handles",
        alerts=["ProcessHandlesGrowing"],
    )


def _queue_bytes() -> Json:
    by = "job, instance, process"
    return timeseries(
        "Queue bytes by process",
        f"unread: received, and not read by the process. unsent: not acknowledged by the peer. "
        f"Empty on Windows, which does not tell. {TOP_NOTE}",
        [
            Query(
                topk_over_range(TOP, selector(catalog.SOCKET_RECEIVE_QUEUE_BYTES), by),
                "unread: {{process}} on {{instance}}",
            ),
            Query(
                topk_over_range(TOP, selector(catalog.SOCKET_SEND_QUEUE_BYTES), by),
                "unsent: {{process}} on {{instance}}",
            ),
        ],
        BYTES,
        data_links=[SERIES_TO_PROCESS],
    )


def host_dashboard() -> Json:
    """Return the dashboard `Sockets: host`."""
    return dashboard(
        HOST,
        "Sockets: host",
        "Processes that leak connections, their destinations, and the time until a limit is reached. Click "
        "a process for its dashboard.",
        [
            row(4, *host_stat_row()),
            row(8, (15, by_process_table()), (9, firing_table())),
            row(9, (8, _unclosed()), (8, causes()), (8, ages())),
            row_header("Sockets"),
            row(10, (12, sockets_by_state()), (12, remote_ports())),
            row_header("Listeners"),
            row(9, (14, listeners_table()), (10, accept_queues())),
            row_header("Ephemeral ports"),
            row(9, (12, destinations_table()), (12, ports())),
            row_header("TIME_WAIT"),
            row(9, (8, by_process()), (8, by_method()), (8, rates())),
            row_header("File descriptors, handles and queues"),
            row(9, (8, _descriptors()), (8, _handles()), (8, _queue_bytes())),
            row_header("Kernel"),
            row(9, (6, failed_connections()), (6, dropped_connections()), (6, aborts()), (6, limits())),
            print_server_row(),
        ],
        [print_server_variable()],
    )
