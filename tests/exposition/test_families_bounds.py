"""How many series there are at most, what is shown of too many, and that it is said."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from exporter.analysis.fold import Limits
from exporter.exposition import metrics
from exporter.model.close_wait import Cause
from exporter.model.groups import Direction, SocketGroup
from exporter.model.host import FdUsage
from exporter.model.process import Owner, ProcessId, Unowned
from exporter.model.snapshot import Snapshot
from exporter.model.sockets import CLOSE_WAIT, ESTABLISHED

from .seen import SEEN, collect, stuck, values

CAREFUL = Limits(100, 50, 11)
"""More processes than series: whoever asks for few series gets few."""


def inbound(number: int, state: int = ESTABLISHED) -> SocketGroup:
    return SocketGroup(state, ProcessId(number, 0.0), Direction.INBOUND, 80)


@pytest.fixture(scope="module")
def many() -> Snapshot:
    """Forty processes, each with one more of everything than the one before, and nobody's sockets."""
    names: dict[Owner, str] = {ProcessId(number, 0.0): f"job{number:02}" for number in range(1, 41)}
    queues = {inbound(number): (number, number) for number in range(1, 41)}
    queues[SocketGroup(ESTABLISHED, Unowned.NOT_FOUND, Direction.INBOUND, 22)] = (1, 1)
    return replace(
        SEEN,
        groups=Counter({inbound(number): number for number in range(1, 41)}),
        names=names,
        stuck=[
            one for n in range(1, 41) for one in stuck(inbound(n, CLOSE_WAIT), Cause.NOT_READ, n, times=n)
        ],
        queues=queues,
        descriptors={ProcessId(number, 0.0): FdUsage(number, 100) for number in range(1, 41)},
    )


@pytest.mark.parametrize(
    "name",
    [
        gauge.name
        for gauge in metrics.TABLE
        if "process" in gauge.labels and gauge is not metrics.CLOSE_WAIT_AGE
    ],
)
def test_no_family_has_more_series_than_allowed(name: str, many: Snapshot) -> None:
    assert len(collect(many, CAREFUL)[name].samples) <= CAREFUL.series


def test_there_are_no_more_histograms_than_series_allowed(many: Snapshot) -> None:
    samples = collect(many, CAREFUL)["socket_close_wait_age_seconds"].samples
    assert len({sample.labels["process"] for sample in samples}) <= CAREFUL.series


@pytest.mark.parametrize(
    ("name", "total"),
    [
        ("socket_process_open_fds", 820),
        ("socket_receive_queue_bytes", 821),
        ("socket_send_queue_bytes", 821),
        ("socket_close_wait_sockets", 820),
    ],
)
def test_the_sum_stays_when_series_run_out(name: str, total: int, many: Snapshot) -> None:
    assert sum(sample.value for sample in collect(many, CAREFUL)[name].samples) == total


def test_the_biggest_keep_their_names(many: Snapshot) -> None:
    families = collect(many, CAREFUL)
    assert ("job40",) in values(families["socket_process_open_fds"])
    assert values(families["socket_process_worst_fd_ratio"])["job40",] == 0.4
    assert values(families["socket_close_wait_oldest_age_seconds"])["job40",] == 40
    assert values(families["socket_receive_queue_bytes"])["job40",] == 40


def test_what_is_folded_is_said_with_the_name_of_its_label() -> None:
    folded = values(collect(limits=Limits(1, 1, 2_000))["socket_exporter_folded_series"])
    assert folded["socket_states", "process"] == 1
    assert folded["socket_states", "remote_port"] == 2
    assert folded["socket_close_wait_sockets", "process"] == 1


def test_only_labels_that_a_family_has_are_named(many: Snapshot) -> None:
    labels = {gauge.name: {*gauge.labels, "series"} for gauge in metrics.TABLE}
    for family, label in values(collect(many, CAREFUL)["socket_exporter_folded_series"]):
        assert label in labels[family]


def test_as_many_series_are_said_to_be_folded_as_lost_their_name(many: Snapshot) -> None:
    families = collect(many, CAREFUL)
    folded = values(families["socket_exporter_folded_series"])
    for name in ("socket_process_open_fds", "socket_receive_queue_bytes"):
        processes = 40 if "fds" in name else 41
        named = {labels for labels in values(families[name]) if labels != ("other",)}
        assert folded[name, "series"] == processes - len(named)
