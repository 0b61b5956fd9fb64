"""What several boards show: the figures on top, alerts that fire, connections in CLOSE_WAIT."""

from __future__ import annotations

from typing import Final

from exporter.exposition import metrics

from .. import rules
from ..board import HOST, PROCESS, lead
from ..colours import (
    CRITICAL,
    QUIET,
    WARNING,
    WELL,
    at_threshold,
    below_threshold,
    steps,
)
from ..panels import RATIO, SECONDS, Json, stat, value_mapping
from ..queries import count, firing, number_of, of, recorded
from ..tables import Column, table

TO_HOST: Final = lead("Sockets of this host", HOST, instance="__data.fields.Host")
TO_PROCESS: Final = lead(
    "Everything about this process", PROCESS, instance="__data.fields.Host", process="__data.fields.Process"
)
SERIES_TO_HOST: Final = lead("Sockets of this host", HOST, instance="__field.labels.instance")
SERIES_TO_PROCESS: Final = lead(
    "Everything about this process",
    PROCESS,
    instance="__field.labels.instance",
    process="__field.labels.process",
)

FIRING_LABELS: Final = {
    "severity": "Severity",
    "alertname": "Alert",
    "instance": "Host",
    "process": "Process",
    "local_port": "Port",
    "remote_address": "Towards",
    "remote_port": "Remote port",
    "collector": "Collector",
}


def descriptors_left(*matchers: str) -> str:
    """Seconds until a process has no descriptor left. Those of `other` are not one process's."""
    return recorded(
        "instance_process:socket_process_worst_fd_ratio:seconds_left", *(matchers or ('process!="other"',))
    )


def ports_left() -> str:
    """Seconds until no port is left towards a destination."""
    return recorded("instance_destination:socket_ephemeral_ports_unavailable:seconds_left")


def ports_taken() -> str:
    """The part of the ports towards a destination that connect() cannot have."""
    return recorded("instance_destination:socket_ephemeral_ports_unavailable:ratio")


def queue_ratio(*matchers: str) -> str:
    """Accept queues against their backlogs."""
    return recorded("instance_process_port:socket_listener_accept_queue:ratio", *matchers)


def stuck(*matchers: str) -> str:
    """Connections in CLOSE_WAIT for longer than the threshold, by process."""
    return recorded("instance_process:socket_close_wait:older_than_threshold", *matchers)


def firing_tile(severity: str, *matchers: str) -> Json:
    """How many alerts fire."""
    colour = {"critical": CRITICAL, "warning": WARNING}[severity]
    return stat(
        f"Alerts: {severity}",
        f"Alerts of severity {severity} that fire now. The table below names them.",
        number_of(firing(f'severity="{severity}"', *matchers)),
        "short",
        thresholds=steps((1, colour)),
    )


def stuck_tile(*matchers: str) -> Json:
    """How many connections nobody closes, at the worst process."""
    return stat(
        "CLOSE_WAIT stuck",
        "Connections that the other side closed longer ago than the alerts' threshold (5 min as delivered) "
        "and the local process did not, at the worst process.",
        f"max({stuck(*matchers)})",
        "short",
        thresholds=at_threshold("close_wait_stuck_sockets"),
        alerts=["CloseWaitStuck"],
    )


def oldest_tile(*matchers: str) -> Json:
    """The age of the oldest."""
    return stat(
        "Oldest CLOSE_WAIT",
        "Seconds since the other side closed, of the connection that waits longest for close(). Programs "
        "that "
        "work close within seconds.",
        f"max({of(metrics.CLOSE_WAIT_OLDEST, *matchers)})",
        SECONDS,
        thresholds=at_threshold("close_wait_age_seconds"),
        none="none",
        alerts=["CloseWaitStuck"],
    )


def time_left_tile(expression: str, what: str) -> Json:
    """The shortest time that is left."""
    return stat(
        "Time left",
        f"Until {what} run out, were it to go on as in the last minutes; the soonest. Nothing where nothing "
        "rises.",
        f"min({expression})",
        SECONDS,
        thresholds=below_threshold("ephemeral_ports_seconds_left"),
        none="nothing rises",
        alerts=["CloseWaitDescriptorsRunningOut", "EphemeralPortsExhaustedSoon"],
    )


def ratio_tile(title: str, description: str, expression: str, threshold: str, *alerts: str) -> Json:
    """A part of a limit."""
    return stat(
        title,
        description,
        f"max({expression})",
        RATIO,
        thresholds=at_threshold(threshold),
        none="unknown",
        decimals=0,
        alerts=alerts,
    )


def tiles() -> tuple[tuple[int, Json], ...]:
    """The figures on top of the fleet's and the host's board: as bad as it is anywhere."""
    left = f"{descriptors_left()} or {ports_left()}"
    return (
        (3, firing_tile("critical")),
        (3, firing_tile("warning")),
        (3, stuck_tile()),
        (3, oldest_tile()),
        (3, time_left_tile(left, "file descriptors of a process, or ports towards a destination,")),
        (
            3,
            ratio_tile(
                "Descriptors",
                "Open file descriptors against the limit, of the worst process that owns TCP sockets.",
                of(metrics.PROCESS_WORST_FD_RATIO),
                "descriptors_ratio",
                "CloseWaitDescriptorsRunningOut",
            ),
        ),
        (
            3,
            ratio_tile(
                "Ports",
                "Ephemeral ports that connect() cannot have, towards the fullest destination, against all.",
                ports_taken(),
                "ephemeral_ports_ratio",
                "EphemeralPortsNearExhaustion",
            ),
        ),
        (
            3,
            ratio_tile(
                "TIME_WAIT",
                "Sockets in TIME_WAIT against tcp_max_tw_buckets.",
                recorded("instance:socket_time_wait:ratio"),
                "time_wait_ratio",
                "TimeWaitNearLimit",
            ),
        ),
    )


def firing_table(*matchers: str) -> Json:
    """The alerts that fire, with what they are about, and links to it."""
    labels = ", ".join(FIRING_LABELS)
    since = f"(ALERTS_FOR_STATE and ignoring (alertstate) {firing(*matchers)})"
    severities = value_mapping(critical=("critical", CRITICAL), warning=("warning", WARNING))
    to_runbook = {
        "title": "Runbook of this alert",
        "url": f"{rules.RUNBOOKS}/${{__data.fields.Alert}}.md",
        "targetBlank": True,
    }
    return table(
        "Alerts that fire",
        "As Prometheus evaluates them. Click an alert for its runbook, a host or process for its board.",
        FIRING_LABELS,
        [
            Column(
                "Active for",
                f"max by ({labels}) (time() - {since})",
                SECONDS,
            )
        ],
        links={"Alert": (to_runbook,), "Host": (TO_HOST,), "Process": (TO_PROCESS,)},
        mappings={"Severity": severities},
        sort="Severity",
        ascending=True,
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
    held = f"sum by ({key}) ({of(metrics.CLOSE_WAIT_SOCKETS, *matchers)})"

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
                of_process(of(metrics.CLOSE_WAIT_OLDEST)),
                SECONDS,
                at_threshold("close_wait_age_seconds", QUIET),
            ),
            Column("Stuck", of_process(stuck()), "short", at_threshold("close_wait_stuck_sockets", QUIET)),
            Column(
                "In 30 min", of_process(f"delta({count(metrics.CLOSE_WAIT_AGE)}[30m])"), "short", decimals=0
            ),
            Column(
                "Descriptors",
                of_process(of(metrics.PROCESS_WORST_FD_RATIO)),
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


OK_OR_FAILED: Final = value_mapping(_0=("failed", CRITICAL), _1=("ok", WELL))
