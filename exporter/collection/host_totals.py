"""Data of the host that needs no process: limits, counters and the number of sockets in each state.

While a collection hangs in a file of a process, scrapes are answered with them.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable
from typing import Final

from ..log import LogOnChange
from ..model.collectors import CollectorName
from ..model.host import KernelCounters, SysctlLimits
from ..model.snapshot import PartialSnapshot
from ..model.sockets import LISTEN, STATE_NAMES
from ..netlink.retry import retry_transient
from .collector_runs import CollectorRuns, build_partial_snapshot
from .interfaces import HostReaders, SocketSource

_COLLECTORS: Final = frozenset({CollectorName.STATES, CollectorName.LIMITS})


def read_host(readers: HostReaders, runs: CollectorRuns) -> tuple[SysctlLimits | None, KernelCounters | None]:
    """Return limits and counters. Single unreadable values fail the collector; the others are kept."""
    limits = runs.run(CollectorName.LIMITS, readers.read_limits, None)
    # Readable without the limits: /proc mounted with subset=pid has no sysctls.
    counters = runs.run(CollectorName.LIMITS, readers.read_counters, None)
    if errors := (*(limits.errors if limits else ()), *(counters.errors if counters else ())):
        runs.fail(CollectorName.LIMITS, ValueError("; ".join(errors)))
    return limits, counters


class HostTotals:
    """Reads the host's totals in a thread of its own while a collection hangs.

    build_source: returns a socket source that no other thread uses; called once, when it is needed.
    running: returns the results of the running collection, None if none is running.
    clock: seconds of the monotonic clock.

    The methods may be called by any thread, refresh() by one at a time.
    """

    def __init__(
        self,
        build_source: Callable[[], SocketSource],
        readers: HostReaders,
        running: Callable[[], PartialSnapshot | None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._build_source = build_source
        self._readers = readers
        self._running = running
        self._clock = clock
        self._log = LogOnChange(logging.getLogger(__name__))
        self._source: SocketSource | None = None
        self._latest: PartialSnapshot | None = None

    def latest(self) -> PartialSnapshot | None:
        """Return the results of the running collection, or the totals if they have been read after its start.

        None if no collection is running.
        """
        running, totals = self._running(), self._latest
        return totals if running and totals and totals.started_at > running.started_at else running

    def is_outdated(self, since: float) -> bool:
        """Return whether a collection is running and nothing has been read since this time of the clock."""
        latest = self.latest()
        return latest is not None and latest.started_at < since

    def refresh(self) -> None:
        """Read the totals. Never raises: they contain what could be read."""
        started_at = self._clock()
        runs = CollectorRuns(self._log, _COLLECTORS)
        limits, counters = read_host(self._readers, runs)
        nothing: tuple[dict[int, int], int] = {}, 0
        totals, listener_count = runs.run(CollectorName.STATES, self._count_sockets, nothing)
        runs.log_recoveries()
        self._latest = build_partial_snapshot(started_at, runs, limits, counters, totals, listener_count)

    def _count_sockets(self) -> tuple[dict[int, int], int]:
        """Return the number of sockets by state without listeners, and that of listeners."""

        def count() -> tuple[dict[int, int], int]:
            self._source = source = self._source or self._build_source()
            totals: Counter[int] = Counter(dict.fromkeys(STATE_NAMES.keys() - {LISTEN}, 0))
            for read in (source.full_sockets, source.minisocks):
                for batch in read():
                    totals[batch.keyspace.state] += len(batch.keys)
            return dict(totals), len(source.listeners())

        return retry_transient(count)
