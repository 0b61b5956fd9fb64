"""Collector for prometheus_client: snapshots of the host as metric families."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable, Iterator, Set
from typing import Final

from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from .. import __version__
from ..model.collectors import MEASURED_COLLECTORS, CollectorName
from ..model.reload_status import ReloadStatus
from ..model.snapshot import PartialSnapshot, Snapshot, build_empty_partial_snapshot
from . import catalog
from .accept_queue_metrics import build_accept_queues
from .cardinality import SeriesLimits
from .close_wait_metrics import build_close_wait
from .dead_fd_metrics import build_dead_fds
from .ephemeral_port_metrics import build_ephemeral_ports
from .kernel_metrics import build_kernel
from .labels import UNREADABLE_REASONS
from .process_metrics import build_descriptors, build_queues
from .series_limiter import SeriesLimiter
from .socket_metrics import build_listeners, build_states, build_time_wait

_BUILDERS: Final[tuple[tuple[CollectorName, Callable[[Snapshot, SeriesLimiter], Iterator[Metric]]], ...]] = (
    (CollectorName.STATES, build_states),
    (CollectorName.LISTENERS, build_listeners),
    (CollectorName.LISTENERS, build_accept_queues),
    (CollectorName.CLOSE_WAIT, build_close_wait),
    (CollectorName.TIME_WAIT, build_time_wait),
    (CollectorName.EPHEMERAL, build_ephemeral_ports),
    (CollectorName.DESCRIPTORS, build_dead_fds),
    (CollectorName.DESCRIPTORS, build_descriptors),
    (CollectorName.QUEUES, build_queues),
    (CollectorName.LIMITS, build_kernel),
)
"""(collector, builder). A builder runs if the collector is enabled; metrics of other, disabled collectors are
then removed from its result."""


class SocketCollector(Collector):
    """Exports a new snapshot of the host in each collection. collect() must not run concurrently.

    take_snapshot: returns a new snapshot.
    source: name of the socket source, for build_info.
    collectors: the enabled collectors.
    reload_status: returns the outcome of the last configuration reload.
    partial: returns the results of the running collection, None if none is running.
    """

    def __init__(
        self,
        take_snapshot: Callable[[], Snapshot],
        limits: SeriesLimits,
        source: str,
        collectors: frozenset[CollectorName] = frozenset(CollectorName),
        reload_status: Callable[[], ReloadStatus] = lambda: ReloadStatus(success=True, timestamp=0.0),
        partial: Callable[[], PartialSnapshot | None] = lambda: None,
    ) -> None:
        self._take_snapshot = take_snapshot
        self._limiter = SeriesLimiter(limits)
        self._source = source
        self._collectors = collectors
        self._reload_status = reload_status
        self._partial = partial

    def set_limits(self, limits: SeriesLimits) -> None:
        """Use other limits from the next collection on, and forget which label values were kept."""
        self._limiter = SeriesLimiter(limits)

    def describe(self) -> Iterable[Metric]:
        """Return all families that collect() may return, without samples."""
        return [spec.describe() for spec in catalog.METRICS]

    def collect(self) -> Iterator[Metric]:
        """Return all families. The families of a collector that failed are absent."""
        snapshot, limiter = self._take_snapshot(), self._limiter
        for collector, build in _BUILDERS:
            if collector in self._collectors:
                yield from filter(self._is_enabled, build(snapshot, limiter))
        yield limiter.build_aggregated()
        yield catalog.SOCKET_EXPORTER_UNREADABLE_PROCESSES.build(
            ((reason,), snapshot.unreadable_processes.get(reason, 0)) for reason in UNREADABLE_REASONS
        )
        yield from self._build_config_metrics()
        yield from self._build_scrape_metrics(snapshot, self._collectors & snapshot.durations.keys())

    def collect_partial(self, since: float) -> Iterator[Metric]:
        """Return the families that the running collection has completed. Other collectors have success 0.

        May be called in any thread, also during collect().

        since: seconds of the monotonic clock; results of a collection that started earlier are not returned.
        """
        partial = self._partial()
        if partial is None or partial.started_at < since:
            partial = build_empty_partial_snapshot(since)
        snapshot = partial.snapshot
        if CollectorName.STATES in self._collectors:
            yield from build_states(snapshot, self._limiter)
        if CollectorName.LIMITS in self._collectors:
            yield from build_kernel(snapshot, self._limiter)
        yield from self._build_config_metrics()
        yield from self._build_scrape_metrics(snapshot, self._collectors & MEASURED_COLLECTORS)

    def _build_config_metrics(self) -> Iterator[Metric]:
        status = self._reload_status()
        yield catalog.SOCKET_EXPORTER_CONFIG_LAST_RELOAD_SUCCESSFUL.build([((), int(status.success))])
        yield catalog.SOCKET_EXPORTER_CONFIG_LAST_RELOAD_SUCCESS_TIMESTAMP_SECONDS.build(
            [((), status.timestamp)]
        )

    def _is_enabled(self, family: Metric) -> bool:
        return catalog.COLLECTOR_BY_METRIC[family.name] in self._collectors

    def _build_scrape_metrics(self, snapshot: Snapshot, collectors: Set[CollectorName]) -> Iterator[Metric]:
        measured = sorted(collectors & snapshot.durations.keys())
        yield catalog.SOCKET_SCRAPE_COLLECTOR_DURATION_SECONDS.build(
            ((name,), snapshot.durations[name]) for name in measured
        )
        yield catalog.SOCKET_SCRAPE_COLLECTOR_SUCCESS.build(
            ((name,), int(name not in snapshot.failed)) for name in sorted(collectors)
        )
        yield catalog.SOCKET_EXPORTER_BUILD_INFO.build(
            [((__version__, self._source, platform.python_version()), 1)]
        )
