"""What processes use: file descriptors and queues."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator

from prometheus_client.core import Metric

from ...analysis.fold import Series
from ...model.snapshot import Snapshot
from .. import metrics
from ..bounds import Bounds, shown
from ..kinds import Gauge
from .labels import process


def descriptors(seen: Snapshot, bounds: Bounds) -> Iterator[Metric]:
    """Open descriptors, and the worst share of a limit, of the processes that own sockets."""
    opened: Counter[str] = Counter()
    worst: dict[str, float] = {}
    for owner, has in seen.descriptors.items():
        name = process(owner, seen)
        opened[name] += has.open
        if has.limit:
            worst[name] = max(worst.get(name, 0.0), has.open / has.limit)
    called = _called(metrics.PROCESS_OPEN_FDS, opened, bounds)
    yield _by_process(metrics.PROCESS_OPEN_FDS, opened, called)
    ratios: dict[str, float] = {}
    for name, ratio in worst.items():
        ratios[called(name)] = max(ratios.get(called(name), 0.0), ratio)
    yield metrics.PROCESS_WORST_FD_RATIO.family(((name,), ratio) for name, ratio in ratios.items())


def queues(seen: Snapshot, bounds: Bounds) -> Iterator[Metric]:
    """Unread and unacknowledged bytes; a process without any is left out."""
    if seen.queues is None:
        return
    unread: Counter[str] = Counter()
    unconfirmed: Counter[str] = Counter()
    for group, (received, sent) in seen.queues.items():
        unread[process(group.owner, seen)] += received
        unconfirmed[process(group.owner, seen)] += sent
    for gauge, sums in ((metrics.RECEIVE_QUEUE, unread), (metrics.SEND_QUEUE, unconfirmed)):
        yield _by_process(gauge, sums, _called(gauge, sums, bounds))


def _called(gauge: Gauge, sums: Counter[str], bounds: Bounds) -> Callable[[str], str]:
    # No port is to be given up before a process is.
    series = {Series("", name, metrics.OTHER): value for name, value in sums.items()}
    return shown(bounds.fold(gauge, series, bounds.limits))


def _by_process(gauge: Gauge, sums: Counter[str], called: Callable[[str], str]) -> Metric:
    by_name: Counter[str] = Counter()
    for name, value in sums.items():
        by_name[called(name)] += value
    return gauge.family(((name,), value) for name, value in by_name.items())
