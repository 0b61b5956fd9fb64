"""Metric families from one look at the host, bounded so that no host can flood Prometheus."""

from __future__ import annotations

import platform
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from threading import Lock
from typing import Final

from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from .. import __version__
from ..analysis.fold import Folded, Limits, Series, Visible, fold
from ..model import LISTEN, STATE_NAMES, Direction, Group, Listener, Owner, ProcessId, Unowned
from . import metrics
from .observer import LISTENERS, OWNERS, STATES, Observation

_ALWAYS: Final = frozenset({metrics.UNKNOWN, metrics.INBOUND, metrics.NO_PORT})


@dataclass(frozen=True, slots=True)
class Settings:
    """What to export: the limits of each family, and which parts."""

    limits: Limits
    parts: frozenset[str] = frozenset({STATES, LISTENERS, OWNERS})


@dataclass(slots=True)
class _Shown:
    """What the last scrape showed of each bounded family, so that series do not flap."""

    visible: dict[str, Visible] = field(default_factory=dict)

    def fold(self, family: str, counts: Mapping[Series, int], limits: Limits) -> Folded:
        folded = fold(counts, limits, self.visible.get(family, Visible()), _ALWAYS)
        self.visible[family] = folded.visible
        return folded


class SocketCollector(Collector):
    """Looks at the host once for each collection."""

    def __init__(self, observe: Callable[[], Observation], settings: Settings, source: str) -> None:
        self._observe = observe
        self._settings = settings
        self._source = source
        self._shown = _Shown()
        self._lock = Lock()

    def describe(self) -> Iterable[Metric]:
        """The families that collect() may give, without looking at the host."""
        return [gauge.family() for gauge in metrics.TABLE]

    def collect(self) -> Iterator[Metric]:
        """All families. Never raises for a part that failed: its families are left out."""
        with self._lock:
            yield from self._families(self._observe())

    def _families(self, seen: Observation) -> Iterator[Metric]:
        folded: dict[tuple[str, str], int] = {}
        parts = self._settings.parts
        if STATES in parts and seen.groups is not None:
            yield from self._state_families(seen, seen.groups, folded)
        if LISTENERS in parts and seen.listeners is not None:
            yield from self._listener_families(seen, seen.listeners, folded)
        yield metrics.FOLDED.family(folded.items())
        yield metrics.UNREADABLE.family(
            ((reason,), seen.unreadable.get(reason, 0)) for reason in metrics.UNREADABLE_REASONS
        )
        yield from self._scrape_families(seen)

    def _state_families(
        self, seen: Observation, groups: Mapping[Group, int], folded: dict[tuple[str, str], int]
    ) -> Iterator[Metric]:
        by_state = Counter({name: 0 for number, name in STATE_NAMES.items() if _is_known(number, seen)})
        series: Counter[Series] = Counter()
        for group, count in groups.items():
            by_state[STATE_NAMES[group.state]] += count
            series[Series(STATE_NAMES[group.state], _process(group.owner, seen), _remote_port(group))] += (
                count
            )
        yield metrics.HOST_STATES.family(((state,), count) for state, count in by_state.items())
        yield self._bounded(metrics.STATES, series, self._settings.limits, folded)
        yield metrics.UNOWNED.family(_unowned(seen, groups))

    def _listener_families(
        self, seen: Observation, listeners: list[tuple[Listener, Owner]], folded: dict[tuple[str, str], int]
    ) -> Iterator[Metric]:
        if seen.groups is not None:
            series: Counter[Series] = Counter()
            for group, count in seen.groups.items():
                if group.direction is Direction.INBOUND:
                    process = _process(group.owner, seen)
                    series[Series(STATE_NAMES[group.state], process, str(group.port))] += count
            limits = self._settings.limits
            unbounded_ports = Limits(limits.processes, limits.series, limits.series)
            yield self._bounded(metrics.LISTENER_STATES, series, unbounded_ports, folded)
        queues = _fullest_queues(seen, listeners, self._settings.limits.series)
        yield metrics.ACCEPT_QUEUE_LENGTH.family((labels, length) for labels, (length, _) in queues.items())
        yield metrics.ACCEPT_QUEUE_LIMIT.family((labels, limit) for labels, (_, limit) in queues.items())

    def _bounded(
        self,
        gauge: metrics.Gauge,
        series: Mapping[Series, int],
        limits: Limits,
        folded: dict[tuple[str, str], int],
    ) -> Metric:
        result = self._shown.fold(gauge.name, series, limits)
        folded[gauge.name, gauge.labels[1]] = result.hidden_processes
        folded[gauge.name, gauge.labels[2]] = result.hidden_ports
        folded[gauge.name, "series"] = result.hidden_series
        return gauge.family(result.counts.items())

    def _scrape_families(self, seen: Observation) -> Iterator[Metric]:
        parts = sorted(self._settings.parts)
        yield metrics.COLLECTOR_DURATION.family(((part,), seen.seconds.get(part, 0.0)) for part in parts)
        yield metrics.COLLECTOR_SUCCESS.family(((part,), int(part not in seen.failed)) for part in parts)
        yield metrics.BUILD_INFO.family([((__version__, self._source, platform.python_version()), 1)])


def _is_known(state: int, seen: Observation) -> bool:
    return state != LISTEN or seen.listeners is not None


def _process(owner: Owner, seen: Observation) -> str:
    return seen.names.get(owner, metrics.UNKNOWN)


def _remote_port(group: Group) -> str:
    if group.direction is Direction.INBOUND:
        return metrics.INBOUND
    return str(group.port) if group.direction is Direction.OUTBOUND else metrics.NO_PORT


def _unowned(seen: Observation, groups: Mapping[Group, int]) -> Iterator[tuple[tuple[str], int]]:
    counts: Counter[str] = Counter()
    for group, count in groups.items():
        if group.owner is Unowned.NOT_FOUND:
            counts[seen.not_found_because] += count
        elif not isinstance(group.owner, ProcessId):
            counts[group.owner.value] += count
    return (((reason,), counts[reason]) for reason in metrics.UNOWNED_REASONS)


_Queues = Mapping[tuple[str, str], tuple[int, int]]
"""(process, local port) -> (length, limit) of an accept queue."""


def _fullest_queues(seen: Observation, listeners: Iterable[tuple[Listener, Owner]], most: int) -> _Queues:
    """Of the listeners with the same labels, the fullest: an idle one beside it must not hide it."""
    queues = [
        ((_process(owner, seen), str(listener.local_port)), (listener.queue_length, listener.queue_limit))
        for listener, owner in listeners
        if listener.queue_length is not None and listener.queue_limit is not None
    ]
    queues.sort(key=lambda queue: _fullness(*queue[1]))
    by_labels = dict(queues)
    fullest_last = list(by_labels)
    shown = set(fullest_last[-max(most - 1, 1) :])
    other = (metrics.OTHER, metrics.OTHER)
    return {labels if labels in shown else other: queue for labels, queue in by_labels.items()}


def _fullness(length: int, limit: int) -> tuple[float, int]:
    return length / max(limit, 1), length
