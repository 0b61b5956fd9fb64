"""Sockets: host. Who leaks, towards where, and how long it can go on."""

from __future__ import annotations

from typing import Final

from exporter.exposition import metrics
from exporter.exposition.kinds import Counter

from ..board import HOST, board, heading, row
from ..colours import (
    CAUSES,
    CLOSE_WAIT,
    CRITICAL,
    NOBODY,
    QUIET,
    STATES,
    TIME_WAIT,
    WARNING,
    at_threshold,
    below_threshold,
)
from ..panels import (
    BYTES,
    PER_SECOND,
    RATIO,
    SECONDS,
    SHORT,
    Json,
    by_name,
    heatmap,
    matrix_colours,
    timeseries,
)
from ..queries import Query, buckets, count, of, recorded, worst
from ..tables import Column, matrix, table
from .parts import (
    SERIES_TO_PROCESS,
    TO_HOST,
    TO_PROCESS,
    culprits,
    firing_table,
    ports_left,
    ports_taken,
    queue_ratio,
    tiles,
)

LINES: Final = 10
"""Processes in a graph: the worst of the range shown."""

WORST: Final = f"The {LINES} worst of the time shown."

METHODS: Final = {
    "listener": "dark-blue",
    "observed": "semi-dark-blue",
    "inferred": "light-blue",
    "none": NOBODY,
}
"""Colours of how the owner of a socket in TIME_WAIT was found: the darker, the surer."""


def _by_process(title: str, description: str, series: str, unit: str, **more: object) -> Json:
    return timeseries(
        title,
        f"{description} {WORST}",
        [Query(worst(LINES, series, "job, instance, process"), "{{process}} on {{instance}}")],
        unit,
        data_links=[SERIES_TO_PROCESS],
        **more,
    )


def _close_wait() -> Json:
    return _by_process(
        "CLOSE_WAIT by process",
        "Connections that the other side closed and the process did not. A line that only rises is a leak.",
        count(metrics.CLOSE_WAIT_AGE),
        SHORT,
        colour=CLOSE_WAIT,
        alerts=["CloseWaitGrowing"],
    )


def causes(*matchers: str) -> Json:
    """CLOSE_WAIT by what lacks."""
    return timeseries(
        "CLOSE_WAIT by cause",
        "not_closed: all is read, close() is missing. not_read: the process does not look at the connection. "
        "not_accepted: it did not even take it. sending: it still sends, no leak.",
        [Query(f"sum by (cause) ({of(metrics.CLOSE_WAIT_SOCKETS, *matchers)})", "{{cause}}")],
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
        f"sum by (le) ({buckets(metrics.CLOSE_WAIT_AGE, *matchers)})",
        SECONDS,
        alerts=["CloseWaitStuck"],
    )


def _states() -> Json:
    return timeseries(
        "Sockets by state",
        "All TCP sockets of the hosts chosen.",
        [Query(f"sum by (state) ({of(metrics.HOST_STATES)})", "{{state}}")],
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
        f"sum by (remote_port, state) ({of(metrics.STATES, *matchers)} > 0)",
        ("remote_port", "Remote port"),
        "state",
        matrix_colours(STATES),
    )


def listeners(*matchers: str) -> Json:
    """Accept queues against their backlogs, and what became of the connections."""
    labels = {"instance": "Host", "process": "Process", "local_port": "Port"}
    key = f"job, {', '.join(labels)}"

    def largest(expression: str) -> str:
        return f"max by ({key}) ({expression})"

    def in_state(state: str) -> str:
        chosen = of(metrics.LISTENER_STATES, f'state="{state}"', *matchers)
        return f"sum by ({key}) ({chosen})"

    given_up = recorded("instance_process_port:socket_close_wait_not_accepted:sum", *matchers)
    return table(
        "Listeners: accept queue against its limit",
        "Connections that wait for accept(). A full queue drops new ones. Given up: the caller closed before "
        "it "
        "was accepted.",
        labels,
        [
            Column(
                "Full", largest(queue_ratio(*matchers)), RATIO, at_threshold("accept_queue_ratio"), gauge=True
            ),
            Column("Waiting", largest(of(metrics.ACCEPT_QUEUE_LENGTH, *matchers))),
            Column("Backlog", largest(of(metrics.ACCEPT_QUEUE_LIMIT, *matchers))),
            Column(
                "Given up",
                largest(given_up),
                SHORT,
                at_threshold("close_wait_not_accepted_sockets", QUIET),
            ),
            Column("Established", in_state("established")),
            Column("CLOSE_WAIT", in_state("close_wait")),
        ],
        links={"Host": (TO_HOST,), "Process": (TO_PROCESS,)},
        alerts=["ListenerNotAccepting"],
    )


def _queues() -> Json:
    by = "job, instance, process, local_port"
    return timeseries(
        "Accept queues against their limits",
        f"1 is full: connections are dropped. {WORST}",
        [Query(worst(LINES, queue_ratio(), by), "{{process}} port {{local_port}} on {{instance}}")],
        RATIO,
        levels="accept_queue_ratio",
        data_links=[SERIES_TO_PROCESS],
        alerts=["ListenerNotAccepting"],
    )


def _destinations() -> Json:
    labels = {"instance": "Host", "remote_address": "Towards", "remote_port": "Port"}
    key = f"job, {', '.join(labels)}"
    taken = f"max by ({key}) ({ports_taken()})"
    limit = f"max by (job, instance) ({of(metrics.EPHEMERAL_LIMIT)})"
    return table(
        "Fullest destinations: ports against the range",
        "Ephemeral ports towards one address and port. With none left, connecting there fails. Taken: "
        "without "
        "those in TIME_WAIT that the kernel gives out again (tcp_tw_reuse). Full in: were it to rise on as "
        "in the "
        "last ten minutes.",
        labels,
        [
            Column("Taken", taken, RATIO, at_threshold("ephemeral_ports_ratio"), gauge=True),
            Column("Used", f"max by ({key}) ({of(metrics.EPHEMERAL_USED)})"),
            Column("Of", f"{limit} * on (job, instance) group_right () {taken} ^ 0"),
            Column(
                "Full in",
                f"min by ({key}) ({ports_left()})",
                SECONDS,
                below_threshold("ephemeral_ports_seconds_left", QUIET),
            ),
        ],
        links={"Host": (TO_HOST,)},
        alerts=["EphemeralPortsNearExhaustion", "EphemeralPortsExhaustedSoon"],
    )


def _ports() -> Json:
    by = "job, instance, remote_address, remote_port"
    bound = recorded("instance:socket_ephemeral_ports_bound:ratio")
    return timeseries(
        "Ports towards the fullest destinations",
        f"Ephemeral ports that connect() cannot have, against all; and those that bind() to port 0 can. "
        f"{WORST}",
        [
            Query(worst(LINES, ports_taken(), by), "{{remote_address}}:{{remote_port}} from {{instance}}"),
            Query(f"max by (job, instance) ({bound})", "bind() on {{instance}}"),
        ],
        RATIO,
        levels="ephemeral_ports_ratio",
        alerts=["EphemeralPortsNearExhaustion", "EphemeralPortsExhaustedSoon"],
    )


def _time_wait_owners() -> Json:
    return _by_process(
        "TIME_WAIT by owner",
        "Who closed first, as far as the exporter can tell. unknown: see beside.",
        of(metrics.STATES, 'state="time_wait"'),
        SHORT,
        colour=TIME_WAIT,
        alerts=["TimeWaitNearLimit"],
    )


def _time_wait_methods() -> Json:
    return timeseries(
        "TIME_WAIT by how its owner was found",
        "No process holds such a socket. listener: a process listens on its port; observed: it was seen with "
        "it; "
        "inferred: it alone talks to that address and port; none: nobody knows.",
        [Query(f"sum by (method) ({of(metrics.TIME_WAIT_ATTRIBUTION)})", "{{method}}")],
        SHORT,
        stack=True,
        overrides=by_name(METHODS),
    )


def _time_wait_rates() -> Json:
    return timeseries(
        "TIME_WAIT: begun, reused, skipped",
        "Sockets a second that entered TIME_WAIT; whose port connect() took again; that were closed at once "
        "because of tcp_max_tw_buckets.",
        [
            _rate(metrics.KERNEL_TIME_WAIT_STARTED, "begun"),
            _rate(metrics.KERNEL_TIME_WAIT_REUSED, "reused"),
            _rate(metrics.KERNEL_TIME_WAIT_OVERFLOWS, "skipped"),
        ],
        PER_SECOND,
        overrides=by_name({"begun": TIME_WAIT, "reused": "light-blue", "skipped": CRITICAL}),
        alerts=["TimeWaitOverflow"],
    )


def _rate(metric: Counter, legend: str) -> Query:
    return Query(f"sum(rate({of(metric)}[$__rate_interval]))", legend)


def _descriptors() -> Json:
    return _by_process(
        "Descriptors against their limit, by process",
        "Of the worst process of each name. At 1 it can accept and open nothing more.",
        of(metrics.PROCESS_WORST_FD_RATIO),
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
            Query(worst(LINES, of(metrics.RECEIVE_QUEUE), by), "unread: {{process}} on {{instance}}"),
            Query(worst(LINES, of(metrics.SEND_QUEUE), by), "unsent: {{process}} on {{instance}}"),
        ],
        BYTES,
        data_links=[SERIES_TO_PROCESS],
    )


def _refused() -> Json:
    return timeseries(
        "Connections refused",
        "A second: because an accept queue was full; dropped by a listener for any reason.",
        [
            _rate(metrics.KERNEL_LISTEN_OVERFLOWS, "queue full"),
            _rate(metrics.KERNEL_LISTEN_DROPS, "dropped"),
        ],
        PER_SECOND,
        overrides=by_name({"queue full": CRITICAL, "dropped": WARNING}),
        alerts=["ListenOverflows"],
    )


def _aborts() -> Json:
    return timeseries(
        "Connections aborted, by reason",
        "A second. close: with data unread; data: it came after close(); timeout: the other side is silent; "
        "memory: too many orphans, or no memory.",
        [Query(f"sum by (reason) (rate({of(metrics.KERNEL_ABORTS)}[$__rate_interval]))", "{{reason}}")],
        PER_SECOND,
    )


def _kernel_limits() -> Json:
    parts = {
        "TIME_WAIT": "instance:socket_time_wait:ratio",
        "orphans": "instance:socket_orphans:ratio",
        "memory": "instance:socket_memory:ratio",
    }
    return timeseries(
        "The kernel's limits",
        "TIME_WAIT against tcp_max_tw_buckets, sockets without a process against tcp_max_orphans, buffers "
        "against "
        "tcp_mem; the worst host. The lines are those for orphans; memory has the same.",
        [Query(f"max({recorded(series)})", name) for name, series in parts.items()],
        RATIO,
        levels="orphans_ratio",
        overrides=by_name({"TIME_WAIT": TIME_WAIT, "orphans": "light-purple", "memory": "#A0A0A0"}),
        alerts=["TimeWaitNearLimit", "OrphanSocketsNearLimit", "TcpMemoryNearLimit"],
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
            row(9, (14, listeners()), (10, _queues())),
            heading("Ports to connect from"),
            row(9, (12, _destinations()), (12, _ports())),
            heading("TIME_WAIT"),
            row(9, (8, _time_wait_owners()), (8, _time_wait_methods()), (8, _time_wait_rates())),
            heading("Descriptors and queues"),
            row(9, (12, _descriptors()), (12, _unread())),
            heading("Kernel"),
            row(9, (8, _refused()), (8, _aborts()), (8, _kernel_limits())),
        ],
    )
