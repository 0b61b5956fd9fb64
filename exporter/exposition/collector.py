"""All metric families of one look at the host: the parts that are wanted, and how the look went."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable, Iterator, Set

from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from .. import __version__
from ..analysis.fold import Limits
from ..model.collectors import MEASURED_COLLECTORS, CollectorName
from ..model.reload import ReloadStatus
from ..model.snapshot import PartialSnapshot, Snapshot, empty_partial_snapshot
from ..runtime import gc_paused
from . import metrics
from .bounds import Bounds
from .families import (
    accept_queues,
    close_wait,
    configuration,
    ephemeral,
    kernel,
    processes,
    states,
    time_wait,
)


class SocketCollector(Collector):
    """Looks at the host once for each collection. Not for concurrent use, but for ready().

    parts: the parts to export. source: what build_info calls the source of sockets. reloaded: how the last
    reading of the configuration went. progress: what the look that goes on just now has found.
    """

    def __init__(
        self,
        observe: Callable[[], Snapshot],
        limits: Limits,
        source: str,
        parts: frozenset[CollectorName] = frozenset(CollectorName),
        reloaded: Callable[[], ReloadStatus] = lambda: ReloadStatus(success=True, timestamp=0.0),
        progress: Callable[[], PartialSnapshot | None] = lambda: None,
    ) -> None:
        self._observe = observe
        self._source = source
        self._parts = parts
        self._bounds = Bounds(limits)
        self._reloaded = reloaded
        self._progress = progress

    def bound(self, limits: Limits) -> None:
        """Puts other limits in force. What is shown is chosen anew."""
        self._bounds = Bounds(limits)

    def describe(self) -> Iterable[Metric]:
        """The families that collect() may give, without looking at the host."""
        return [gauge.family() for gauge in metrics.TABLE]

    def collect(self) -> Iterator[Metric]:
        """All families. Never raises for a part that failed: its families are left out."""
        with gc_paused():
            families = list(self._families(self._observe()))
        yield from families

    def ready(self, since: float) -> Iterator[Metric]:
        """What there is now for those who cannot wait for the look that goes on: of a look that has begun
        before `since` (seconds of the monotonic clock), nothing. What is missing has the success 0.

        May be called in any thread, also while another collects.
        """
        going_on = self._progress()
        if going_on is None or going_on.started_at < since:
            going_on = empty_partial_snapshot(since)
        seen = going_on.snapshot
        if CollectorName.STATES in self._parts:
            yield from states.families(seen, self._bounds)
        if CollectorName.LIMITS in self._parts:
            yield from kernel.families(seen)
        yield from configuration.families(self._reloaded())
        yield from self._scrape(seen, self._parts & MEASURED_COLLECTORS)

    def _families(self, seen: Snapshot) -> Iterator[Metric]:
        bounds = self._bounds
        makers: dict[str, Callable[[], Iterator[Metric]]] = {
            CollectorName.STATES: lambda: states.families(seen, bounds),
            CollectorName.LISTENERS: lambda: _listeners(seen, bounds),
            CollectorName.CLOSE_WAIT: lambda: close_wait.families(seen, bounds),
            CollectorName.TIME_WAIT: lambda: time_wait.families(seen),
            CollectorName.EPHEMERAL: lambda: ephemeral.families(
                seen, with_addresses=CollectorName.EPHEMERAL_ADDRESSES in self._parts
            ),
            CollectorName.DESCRIPTORS: lambda: processes.descriptors(seen, bounds),
            CollectorName.QUEUES: lambda: processes.queues(seen, bounds),
            CollectorName.LIMITS: lambda: kernel.families(seen),
        }
        for part, make in makers.items():
            if part in self._parts:
                yield from make()
        yield bounds.folded()
        yield metrics.UNREADABLE.family(
            ((reason,), seen.unreadable.get(reason, 0)) for reason in metrics.UNREADABLE_REASONS
        )
        yield from configuration.families(self._reloaded())
        yield from self._scrape(seen, self._parts & seen.seconds.keys())

    def _scrape(self, seen: Snapshot, parts: Set[CollectorName]) -> Iterator[Metric]:
        measured = sorted(parts & seen.seconds.keys())
        yield metrics.COLLECTOR_DURATION.family(((part,), seen.seconds[part]) for part in measured)
        yield metrics.COLLECTOR_SUCCESS.family(
            ((part,), int(part not in seen.failed)) for part in sorted(parts)
        )
        yield metrics.BUILD_INFO.family([((__version__, self._source, platform.python_version()), 1)])


def _listeners(seen: Snapshot, bounds: Bounds) -> Iterator[Metric]:
    yield from states.by_listener(seen, bounds)
    yield from accept_queues.families(seen, bounds)
