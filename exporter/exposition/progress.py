"""What a look that still goes on has found so far: for scrapes that cannot wait for its end.

Only what needs nothing that is still to come: the host's limits and counters, and how many sockets are in
each state. Whose they are, and what follows from it, is what takes long.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..model import LISTEN
from ..model.collectors import MEASURED_COLLECTORS, CollectorName
from .look import Look
from .observation import Observation


@dataclass(frozen=True, slots=True)
class Progress:
    """A look that goes on. Never changed, only replaced: it is read in other threads."""

    begun: float
    """Seconds of the monotonic clock."""
    seen: Observation
    """Which of its parts are not ready is said as of parts that failed."""


def nothing_yet(begun: float) -> Progress:
    """That of a look that has just begun."""
    return Progress(begun, _unfinished())


def progress(begun: float, look: Look, by_state: Mapping[int, int] | None = None) -> Progress:
    """What the look has found. by_state: the sockets counted, but for listeners; states that have not been
    read yet are absent."""
    seconds, failed = look.parts.seconds, look.parts.failed
    totals: dict[int, int] | None = None
    if by_state is not None and CollectorName.STATES not in failed:
        totals = {state: count for state, count in by_state.items() if state != LISTEN}
        if CollectorName.LISTENERS not in failed:
            totals[LISTEN] = len(look.listeners)
    ready = (
        {CollectorName.LIMITS: seconds[CollectorName.LIMITS]}
        if CollectorName.LIMITS in seconds.keys() - failed
        else {}
    )
    return Progress(begun, _unfinished(ready, look, totals))


def _unfinished(
    ready: Mapping[CollectorName, float] | None = None,
    look: Look | None = None,
    totals: Mapping[int, int] | None = None,
) -> Observation:
    return Observation(
        groups=None,
        listeners=None,
        names={},
        unreadable={},
        not_found_because="not_found",
        seconds=ready or {},
        failed=MEASURED_COLLECTORS - (ready or {}).keys(),
        limits=look.limits if look else None,
        counters=look.counters if look else None,
        totals=totals,
    )
