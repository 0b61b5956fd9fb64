"""Queries, links and panels that several dashboards use."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from exporter.metrics import catalog
from exporter.metrics.spec import CounterSpec

from ..colors import PALETTE, STATES
from ..dashboard import HOST, PROCESS, data_link
from ..panels import SHORT, Json, color_by_series, timeseries
from ..queries import Query, above_threshold, recorded, selector, topk_over_range

TO_HOST: Final = data_link("Sockets of this host", HOST, instance="__data.fields.Host")
TO_PROCESS: Final = data_link(
    "Sockets of this process", PROCESS, instance="__data.fields.Host", process="__data.fields.Process"
)
SERIES_TO_HOST: Final = data_link("Sockets of this host", HOST, instance="__field.labels.instance")
SERIES_TO_PROCESS: Final = data_link(
    "Sockets of this process",
    PROCESS,
    instance="__field.labels.instance",
    process="__field.labels.process",
)

TOP: Final = 10
"""Maximum number of series in a graph: the highest within the displayed range."""

TOP_NOTE: Final = f"Top {TOP} of the displayed range."


def seconds_until_fds_exhausted(*matchers: str) -> str:
    """Return the seconds until a process has no file descriptor left, extrapolated.

    `other` is excluded by default: it is not a single process. Processes with few descriptors are excluded
    unless unclosed connections hold a large part of them: they have usually just started.
    """
    matchers = matchers or ('process!="other"',)
    seconds = recorded("instance_process:socket_process_worst_fd_ratio:seconds_left", *matchers)
    many = above_threshold(
        "ephemeral_ports_rising_ratio", selector(catalog.SOCKET_PROCESS_WORST_FD_RATIO, *matchers)
    )
    share = recorded("instance_process:socket_unclosed_descriptors:ratio", *matchers)
    leaking = above_threshold("close_wait_descriptors_ratio", share)
    return f"({seconds} and on (job, instance, process) ({many} or {leaking}))"


def seconds_until_ports_exhausted() -> str:
    """Return the seconds until no port is left towards a destination, extrapolated.

    Destinations below the alert's threshold for growth are excluded: their service has usually just started.
    """
    seconds = recorded("instance_destination:socket_ephemeral_ports_unavailable:seconds_left")
    many = above_threshold("ephemeral_ports_rising_ratio", ports_unavailable_ratio())
    return f"({seconds} and on (job, instance, remote_address, remote_port) {many})"


def ports_unavailable_ratio() -> str:
    """Return the ratio of the ports towards a destination that connect() cannot use."""
    return recorded("instance_destination:socket_ephemeral_ports_unavailable:ratio")


def accept_queue_ratio(*matchers: str) -> str:
    """Return the ratio of accept queue length to backlog."""
    return recorded("instance_process_port:socket_listener_accept_queue:ratio", *matchers)


def handles(*matchers: str) -> str:
    """Return the open handles by process, on Windows; `other`, which is not a single process, is excluded."""
    return selector(catalog.SOCKET_PROCESS_OPEN_HANDLES, *(matchers or ('process!="other"',)))


def time_wait_without_limit() -> str:
    """Return the TIME_WAIT sockets of the hosts without a limit for them, such as those with Windows."""
    sockets = selector(catalog.SOCKET_HOST_STATES, 'state="time_wait"')
    limit = selector(catalog.SOCKET_TIME_WAIT_LIMIT)
    return f"({sockets} unless on (job, instance) {limit})"


def stuck(*matchers: str) -> str:
    """Return the number of unclosed sockets by process that are older than the threshold.

    Unclosed are connections in CLOSE_WAIT on which the process does not send, and dead file descriptors.
    """
    return recorded("instance_process:socket_unclosed:older_than_threshold", *matchers)


def kernel_rate(metric: CounterSpec, legend: str) -> Query:
    """Return the rate of a kernel counter, summed over the selected hosts."""
    return Query(f"sum(rate({selector(metric)}[$__rate_interval]))", legend)


def sockets_by_state() -> Json:
    """Return a graph of all sockets of the selected hosts by state."""
    return timeseries(
        "Sockets by state",
        "All TCP sockets of the selected hosts.",
        [Query(f"sum by (state) ({selector(catalog.SOCKET_HOST_STATES)})", "{{state}}")],
        SHORT,
        stack=True,
        overrides=color_by_series(STATES),
    )


def top_processes(
    title: str,
    description: str,
    series: str,
    unit: str,
    *,
    color: str = PALETTE,
    thresholds: str | None = None,
    alerts: Sequence[str] = (),
) -> Json:
    """Return a graph of the processes with the highest values within the displayed range."""
    return timeseries(
        title,
        f"{description} {TOP_NOTE}",
        [Query(topk_over_range(TOP, series, "job, instance, process"), "{{process}} on {{instance}}")],
        unit,
        color=color,
        thresholds=thresholds,
        data_links=[SERIES_TO_PROCESS],
        alerts=alerts,
    )
