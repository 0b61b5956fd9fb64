"""Series limits of every metric, and the metric that reports what is aggregated."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from exporter.metrics import catalog
from exporter.metrics.cardinality import SeriesLimits
from exporter.metrics.spec import GaugeHistogramSpec
from exporter.model.close_wait import Cause
from exporter.model.groups import Direction, SocketGroup
from exporter.model.host import FdUsage
from exporter.model.process import Owner, ProcessId, Unowned
from exporter.model.snapshot import Snapshot
from exporter.model.sockets import CLOSE_WAIT, ESTABLISHED

from ..snapshots import BUSY, close_wait_rows
from .families import collect, values

FEW_SERIES = SeriesLimits(100, 50, 11)
"""The limit of series is below that of processes."""


def inbound(number: int, state: int = ESTABLISHED) -> SocketGroup:
    return SocketGroup(state, ProcessId(number, 0.0), Direction.INBOUND, 80)


@pytest.fixture(scope="module")
def forty_processes() -> Snapshot:
    """Return 40 processes, each with one more of everything than the previous one, and unowned sockets."""
    names: dict[Owner, str] = {ProcessId(number, 0.0): f"job{number:02}" for number in range(1, 41)}
    queues = {inbound(number): (number, number) for number in range(1, 41)}
    queues[SocketGroup(ESTABLISHED, Unowned.NOT_FOUND, Direction.INBOUND, 22)] = (1, 1)
    return replace(
        BUSY,
        groups=Counter({inbound(number): number for number in range(1, 41)}),
        names=names,
        close_wait=[
            row
            for n in range(1, 41)
            for row in close_wait_rows(inbound(n, CLOSE_WAIT), Cause.NOT_READ, n, count=n)
        ],
        queue_bytes=queues,
        fd_usage={ProcessId(number, 0.0): FdUsage(number, 100) for number in range(1, 41)},
    )


@pytest.mark.parametrize(
    "name",
    [
        spec.name
        for spec in catalog.METRICS
        if "process" in spec.labels and not isinstance(spec, GaugeHistogramSpec)
    ],
)
def test_series_limit_of_every_metric_by_process(name: str, forty_processes: Snapshot) -> None:
    assert len(collect(forty_processes, FEW_SERIES)[name].samples) <= FEW_SERIES.max_series


def test_series_limit_of_histograms(forty_processes: Snapshot) -> None:
    samples = collect(forty_processes, FEW_SERIES)["socket_close_wait_age_seconds"].samples
    assert len({sample.labels["process"] for sample in samples}) <= FEW_SERIES.max_series


@pytest.mark.parametrize(
    ("name", "total"),
    [
        ("socket_process_open_fds", 820),
        ("socket_receive_queue_bytes", 821),
        ("socket_send_queue_bytes", 821),
        ("socket_close_wait_sockets", 820),
    ],
)
def test_sum_is_kept_at_the_series_limit(name: str, total: int, forty_processes: Snapshot) -> None:
    assert sum(sample.value for sample in collect(forty_processes, FEW_SERIES)[name].samples) == total


def test_biggest_processes_keep_their_names(forty_processes: Snapshot) -> None:
    families = collect(forty_processes, FEW_SERIES)
    assert ("job40",) in values(families["socket_process_open_fds"])
    assert values(families["socket_process_worst_fd_ratio"])["job40",] == 0.4
    assert values(families["socket_close_wait_oldest_age_seconds"])["job40",] == 40
    assert values(families["socket_receive_queue_bytes"])["job40",] == 40


def test_aggregated_label_values_by_metric_and_label() -> None:
    aggregated = values(collect(limits=SeriesLimits(1, 1, 2_000))["socket_exporter_aggregated_label_values"])
    assert aggregated["socket_states", "process"] == 1
    assert aggregated["socket_states", "remote_port"] == 2
    assert aggregated["socket_close_wait_sockets", "process"] == 1


def test_only_labels_of_the_metric_are_reported(forty_processes: Snapshot) -> None:
    labels = {spec.name: {*spec.labels, "series"} for spec in catalog.METRICS}
    for family, label in values(
        collect(forty_processes, FEW_SERIES)["socket_exporter_aggregated_label_values"]
    ):
        assert label in labels[family]


def test_aggregated_series_are_those_without_a_name(forty_processes: Snapshot) -> None:
    families = collect(forty_processes, FEW_SERIES)
    aggregated = values(families["socket_exporter_aggregated_label_values"])
    for name in ("socket_process_open_fds", "socket_receive_queue_bytes"):
        processes = 40 if "fds" in name else 41
        named = {labels for labels in values(families[name]) if labels != ("other",)}
        assert aggregated[name, "series"] == processes - len(named)
