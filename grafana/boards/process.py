"""Sockets: process. For whoever has to mend it."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from exporter.metrics import catalog

from .. import rules
from ..board import PROCESS as UID
from ..board import board, process, row
from ..colours import CLOSE_WAIT, STATES
from ..figures import stat, text
from ..panels import BYTES, RATIO, SECONDS, SHORT, Json, by_name, matrix_colours, timeseries
from ..queries import PROCESS, Query, count, of, recorded
from ..tables import Column, matrix, table
from .alerts import firing_table, firing_tile
from .close_wait import ages, causes
from .host import remote_ports
from .listeners import listeners
from .parts import TO_HOST, descriptors_left
from .tiles import oldest_tile, ratio_tile, stuck_tile, time_left_tile

CAUSES_IN_WORDS: Final = (Path(__file__).parent / "causes.md").read_text(encoding="utf-8")


def _tile(title: str, description: str, expression: str, unit: str = SHORT, none: str = "0") -> Json:
    return stat(title, description, expression, unit, none=none)


def _causes() -> Json:
    labels = {"instance": "Host", "cause": "Cause", "direction": "Direction", "port": "Port"}
    return table(
        "CLOSE_WAIT now",
        "By cause, direction and service port.",
        labels,
        [
            Column(
                "Connections",
                f"sum by (job, {', '.join(labels)}) ({of(catalog.SOCKET_CLOSE_WAIT_SOCKETS, PROCESS)})",
                SHORT,
            )
        ],
        links={"Host": (TO_HOST,)},
        alerts=["CloseWaitStuck"],
    )


def _growth() -> Json:
    floor = recorded("instance_process:socket_close_wait:min10m", PROCESS)
    stuck = recorded("instance_process:socket_close_wait:older_than_threshold", PROCESS)
    return timeseries(
        "Does it leak?",
        "The lowest count of ten minutes leaves bursts out: where it rises, connections leak.",
        [
            Query(f"sum({count(catalog.SOCKET_CLOSE_WAIT_AGE_SECONDS, PROCESS)})", "in CLOSE_WAIT"),
            Query(f"sum({floor})", "lowest of 10 min"),
            Query(f"sum({stuck})", "longer than the threshold"),
        ],
        SHORT,
        levels="close_wait_stuck_sockets",
        colour=CLOSE_WAIT,
        alerts=["CloseWaitGrowing", "CloseWaitStuck"],
    )


def _oldest() -> Json:
    return timeseries(
        "Age of the oldest CLOSE_WAIT",
        "A line that rises by a second a second: one and the same connection waits.",
        [
            Query(
                f"max by (instance) ({of(catalog.SOCKET_CLOSE_WAIT_OLDEST_AGE_SECONDS, PROCESS)})",
                "{{instance}}",
            )
        ],
        SECONDS,
        colour=CLOSE_WAIT,
        levels="close_wait_age_seconds",
        alerts=["CloseWaitStuck"],
    )


def _states() -> Json:
    return timeseries(
        "Sockets by state",
        "All that this process holds, and what it left in TIME_WAIT.",
        [Query(f"sum by (state) ({of(catalog.SOCKET_STATES, PROCESS)})", "{{state}}")],
        SHORT,
        stack=True,
        overrides=by_name(STATES),
    )


def _local_ports() -> Json:
    return matrix(
        "Its own ports by state",
        "Inbound connections by the port that accepted them.",
        f"sum by (local_port, state) ({of(catalog.SOCKET_LISTENER_STATES, PROCESS)} > 0)",
        ("local_port", "Local port"),
        "state",
        matrix_colours(STATES),
    )


def _descriptors() -> Json:
    share = recorded("instance_process:socket_close_wait_descriptors:ratio", PROCESS)
    return timeseries(
        "Descriptors against the limit",
        "Open ones against the limit, of the worst process of that name; and the part of the open ones that "
        "CLOSE_WAIT holds.",
        [
            Query(
                f"max by (instance) ({of(catalog.SOCKET_PROCESS_WORST_FD_RATIO, PROCESS)})",
                "open on {{instance}}",
            ),
            Query(f"max by (instance) ({share})", "in CLOSE_WAIT on {{instance}}"),
        ],
        RATIO,
        levels="descriptors_ratio",
        alerts=["CloseWaitDescriptorsRunningOut"],
    )


def _queues() -> Json:
    return timeseries(
        "Bytes in queues",
        "Unread: arrived, and the process has not read them: it hangs or is slow. Unsent: the other side has "
        "not "
        "confirmed them.",
        [
            Query(f"sum({of(catalog.SOCKET_RECEIVE_QUEUE_BYTES, PROCESS)})", "unread"),
            Query(f"sum({of(catalog.SOCKET_SEND_QUEUE_BYTES, PROCESS)})", "unsent"),
        ],
        BYTES,
        overrides=by_name({"unread": "purple", "unsent": "blue"}),
    )


def _tiles() -> tuple[tuple[int, Json], ...]:
    established = of(catalog.SOCKET_STATES, 'state="established"', PROCESS)
    return (
        (3, firing_tile("critical", PROCESS)),
        (3, firing_tile("warning", PROCESS)),
        (3, stuck_tile(PROCESS)),
        (3, oldest_tile(PROCESS)),
        (3, time_left_tile(descriptors_left(PROCESS), "its file descriptors")),
        (
            3,
            ratio_tile(
                "Descriptors",
                "Open file descriptors against their limit, of the worst process of that name.",
                of(catalog.SOCKET_PROCESS_WORST_FD_RATIO, PROCESS),
                "descriptors_ratio",
                "CloseWaitDescriptorsRunningOut",
            ),
        ),
        (
            3,
            _tile(
                "Open descriptors",
                "Of all processes of that name.",
                f"sum({of(catalog.SOCKET_PROCESS_OPEN_FDS, PROCESS)})",
                none="unknown",
            ),
        ),
        (
            3,
            _tile(
                "Established",
                "Connections that both sides keep open.",
                f"sum({established})",
            ),
        ),
    )


def process_board() -> Json:
    """The board."""
    return board(
        UID,
        "Sockets: process",
        "Everything about the sockets of one process, for whoever has to mend it.",
        [
            row(4, *_tiles()),
            row(
                11,
                (
                    11,
                    text(
                        "How to read the causes",
                        "What each cause of CLOSE_WAIT means.",
                        CAUSES_IN_WORDS.replace("RUNBOOK", rules.runbook("CloseWaitStuck")),
                    ),
                ),
                (13, causes(PROCESS)),
            ),
            row(9, (8, _causes()), (8, _growth()), (8, ages(PROCESS))),
            row(9, (12, _states()), (12, remote_ports(PROCESS))),
            row(9, (8, _descriptors()), (8, _oldest()), (8, _queues())),
            row(9, (10, _local_ports()), (14, listeners(PROCESS))),
            row(7, (24, firing_table(PROCESS))),
        ],
        [process()],
    )
