"""The figures on top of a board."""

from __future__ import annotations

from exporter.metrics import catalog

from ..colours import at_threshold, below_threshold
from ..figures import stat
from ..panels import RATIO, SECONDS, SHORT, Json
from ..queries import of, recorded
from .alerts import firing_tile
from .parts import descriptors_left, ports_left, ports_taken, stuck


def stuck_tile(*matchers: str) -> Json:
    """How many connections nobody closes, at the worst process."""
    return stat(
        "CLOSE_WAIT stuck",
        "Connections that the other side closed longer ago than the alerts' threshold (5 min as delivered) "
        "and the local process did not, at the worst process.",
        f"max({stuck(*matchers)})",
        SHORT,
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
        f"max({of(catalog.SOCKET_CLOSE_WAIT_OLDEST_AGE_SECONDS, *matchers)})",
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
        "rises, or so little is taken that it may be a start.",
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
                of(catalog.SOCKET_PROCESS_WORST_FD_RATIO),
                "descriptors_ratio",
                "CloseWaitDescriptorsRunningOut",
            ),
        ),
        (
            3,
            ratio_tile(
                "Ports taken",
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
