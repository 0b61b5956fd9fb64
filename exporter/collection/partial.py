"""Snapshots of unfinished collections, for scrapes that cannot wait for the end.

They hold what needs no owner: limits, kernel counters, and the number of sockets by state. Finding the owners
is what takes long.
"""

from __future__ import annotations

from collections.abc import Mapping

from ..model.collectors import CollectorName
from ..model.host import KernelCounters, SysctlLimits
from ..model.snapshot import PartialSnapshot, unfinished_snapshot
from ..model.sockets import LISTEN
from .collector_runs import CollectorRuns


def partial_snapshot(
    started_at: float,
    runs: CollectorRuns,
    limits: SysctlLimits | None,
    counters: KernelCounters | None,
    totals: Mapping[int, int] | None = None,
    listener_count: int = 0,
) -> PartialSnapshot:
    """Return what the collection has found. totals: sockets by state without listeners; unread states are
    absent."""
    if totals is not None and CollectorName.STATES not in runs.failed:
        totals = {state: count for state, count in totals.items() if state != LISTEN}
        if CollectorName.LISTENERS not in runs.failed:
            totals[LISTEN] = listener_count
    else:
        totals = None
    durations: dict[CollectorName, float] = {
        collector: seconds
        for collector, seconds in runs.durations.items()
        if collector is CollectorName.LIMITS and collector not in runs.failed
    }
    return PartialSnapshot(started_at, unfinished_snapshot(durations, limits, counters, totals))
