"""Runs the steps of one collection, and records durations and failures of the collectors."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Set
from typing import TypeVar

from ..log import LogOnChange
from ..model.collectors import CollectorName
from ..model.host import KernelCounters, SysctlLimits
from ..model.snapshot import PartialSnapshot, build_unfinished_snapshot
from ..model.sockets import LISTEN

_T = TypeVar("_T")


class CollectorRuns:
    """Runs the steps of one collection. A step that fails does not stop the others.

    A collector may have several steps: their durations add up, and one failure makes the collector fail.
    enabled: the collectors whose steps are run.
    """

    def __init__(self, log: LogOnChange, enabled: Set[CollectorName]) -> None:
        self._log = log
        self._enabled = enabled
        self.durations: dict[CollectorName, float] = {}
        """Seconds by collector, of those that ran."""
        self.failed: set[CollectorName] = set()

    def run(self, collector: CollectorName, step: Callable[[], _T], default: _T) -> _T:
        """Return the step's result, or the default if the collector is disabled or the step raises."""
        if collector not in self._enabled:
            return default
        started = time.perf_counter()
        try:
            return step()
        except Exception as error:  # noqa: BLE001  # no error may stop the other collectors
            self.fail(collector, error)
            return default
        finally:
            self.durations[collector] = self.durations.get(collector, 0.0) + time.perf_counter() - started

    def fail(self, collector: CollectorName, error: Exception) -> None:
        """Mark a collector as failed, and log its first error once. Its results may still be used."""
        if collector not in self.failed:
            # Two steps that fail with different exceptions would be logged in every collection.
            self.failed.add(collector)
            self._log.failing(collector, "Collector failed", error=error, collector=collector)

    def log_recoveries(self) -> None:
        """Log each collector that failed in a previous collection and has succeeded in this one."""
        for collector in self.durations.keys() - self.failed:
            self._log.recovered(collector, "Collector recovered", collector=collector)


def build_partial_snapshot(
    started_at: float,
    runs: CollectorRuns,
    limits: SysctlLimits | None,
    counters: KernelCounters | None,
    totals: Mapping[int, int] | None = None,
    listener_count: int = 0,
) -> PartialSnapshot:
    """Return the results of the collection so far.

    totals: number of sockets by state; listeners, and states that have not been read, are absent.
    """
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
    return PartialSnapshot(started_at, build_unfinished_snapshot(durations, limits, counters, totals))
