"""TIME_WAIT: whose, how that is known, and how fast."""

from __future__ import annotations

from typing import Final

from exporter.metrics import catalog

from ..colours import CRITICAL, NOBODY, TIME_WAIT
from ..panels import PER_SECOND, SHORT, Json, by_name, timeseries
from ..queries import Query, of
from .courses import by_process, rate

METHODS: Final = {
    "listener": "dark-blue",
    "observed": "semi-dark-blue",
    "inferred": "light-blue",
    "none": NOBODY,
}
"""Colours of how the owner of a socket in TIME_WAIT was found: the darker, the surer."""


def owners() -> Json:
    """By process."""
    return by_process(
        "TIME_WAIT by owner",
        "Who closed first, as far as the exporter can tell. unknown: see beside.",
        of(catalog.SOCKET_STATES, 'state="time_wait"'),
        SHORT,
        colour=TIME_WAIT,
        alerts=["TimeWaitNearLimit"],
    )


def methods() -> Json:
    """How the process was found."""
    return timeseries(
        "TIME_WAIT by how its owner was found",
        "No process holds such a socket. listener: a process listens on its port; observed: it was seen with "
        "it; "
        "inferred: it alone talks to that address and port; none: nobody knows.",
        [Query(f"sum by (method) ({of(catalog.SOCKET_TIME_WAIT_ATTRIBUTION)})", "{{method}}")],
        SHORT,
        stack=True,
        overrides=by_name(METHODS),
    )


def rates() -> Json:
    """How fast they come and go."""
    return timeseries(
        "TIME_WAIT: begun, reused, skipped",
        "Sockets a second that entered TIME_WAIT; whose port connect() took again; that were closed at once "
        "because of tcp_max_tw_buckets.",
        [
            rate(catalog.SOCKET_KERNEL_TIME_WAIT_STARTED, "begun"),
            rate(catalog.SOCKET_KERNEL_TIME_WAIT_REUSED, "reused"),
            rate(catalog.SOCKET_KERNEL_TIME_WAIT_OVERFLOWS, "skipped"),
        ],
        PER_SECOND,
        overrides=by_name({"begun": TIME_WAIT, "reused": "light-blue", "skipped": CRITICAL}),
        alerts=["TimeWaitOverflow"],
    )
