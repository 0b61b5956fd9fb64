"""Conservation: the series limits move sockets between series, and lose none."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from math import fsum

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.core import Metric

from exporter.metrics import catalog
from exporter.metrics.cardinality import SeriesLimits
from exporter.metrics.collector import SocketCollector
from exporter.metrics.spec import GaugeSpec
from exporter.model.close_wait import Cause
from exporter.model.dead_fds import DeadFd
from exporter.model.groups import Attribution, Direction, SocketGroup
from exporter.model.host import FdUsage
from exporter.model.process import Owner, ProcessId, Unowned
from exporter.model.snapshot import Snapshot
from exporter.model.sockets import CLOSE_WAIT, ESTABLISHED, STATE_NAMES, TIME_WAIT

from ..snapshots import BUSY, DATABASE, close_wait_rows

PROCESSES = [ProcessId(pid, 0.0) for pid in range(1, 40)]
NAMES: dict[Owner, str] = {process: f"job{process.pid % 25}" for process in PROCESSES}
NUMBERS = st.integers(1, 1_000)

OWNERS = st.sampled_from([*PROCESSES, *Unowned])
PORTS = st.integers(1, 40)
CONNECTED = st.sampled_from([ESTABLISHED, CLOSE_WAIT, *STATE_NAMES.keys() - {TIME_WAIT}])
INBOUND = st.builds(SocketGroup, CONNECTED, OWNERS, st.just(Direction.INBOUND), PORTS, st.none(), st.none())
OUTBOUND = st.builds(
    SocketGroup, CONNECTED, OWNERS, st.just(Direction.OUTBOUND), PORTS, st.just(DATABASE), st.none()
)
TIME_WAITS = st.builds(
    SocketGroup,
    st.just(TIME_WAIT),
    OWNERS,
    st.just(Direction.OUTBOUND),
    PORTS,
    st.just(DATABASE),
    st.sampled_from(Attribution),
)
CLOSE_WAITS = st.builds(
    lambda group, cause, age: close_wait_rows(group._replace(state=CLOSE_WAIT), cause, age)[0],
    INBOUND | OUTBOUND,
    st.sampled_from(Cause),
    st.floats(0, 100_000),
)
QUEUED = st.tuples(st.integers(0, 9_999), st.integers(0, 9))
DESCRIPTORS = st.builds(FdUsage, NUMBERS, st.none() | NUMBERS)
DEAD = st.builds(DeadFd, st.sampled_from(PROCESSES), st.booleans(), st.floats(0, 100_000))
LIMITS = st.builds(SeriesLimits, st.integers(0, 15), st.integers(0, 15), st.integers(len(STATE_NAMES), 30))

EMPTY = replace(
    BUSY, groups={}, names=NAMES, close_wait=[], queue_bytes={}, fd_usage={}, dead_fds=[], handle_counts={}
)


def snapshots(**fields: st.SearchStrategy[object]) -> st.SearchStrategy[list[Snapshot]]:
    """Return a strategy for two snapshots of a host with only these fields."""
    return st.lists(st.builds(replace, st.just(EMPTY), **fields), min_size=2, max_size=2)


SOCKETS = snapshots(groups=st.dictionaries(INBOUND | OUTBOUND | TIME_WAITS, NUMBERS, max_size=30))
CLOSE_WAIT_CONNECTIONS = snapshots(close_wait=st.lists(CLOSE_WAITS, max_size=25))
QUEUES = snapshots(queue_bytes=st.dictionaries(INBOUND | OUTBOUND, QUEUED, max_size=25))
OPEN_FDS = snapshots(fd_usage=st.dictionaries(st.sampled_from(PROCESSES), DESCRIPTORS, max_size=25))
DEAD_FDS = snapshots(dead_fds=st.lists(DEAD, max_size=25))

Families = Mapping[str, Metric]


def scrapes(successive: list[Snapshot], limits: SeriesLimits) -> Iterator[tuple[Snapshot, Families]]:
    """Yield the snapshot and families of successive scrapes of one exporter, which keeps names."""
    collector = SocketCollector(iter(successive).__next__, limits, "netlink")
    for snapshot in successive:
        yield snapshot, {family.name: family for family in collector.collect()}


def total(family: Metric, suffix: str = "", **labels: str) -> float:
    """Return the sum of the samples with these label values."""
    return fsum(
        sample.value
        for sample in family.samples
        if sample.name == family.name + suffix and labels.items() <= sample.labels.items()
    )


@given(SOCKETS, LIMITS)
def test_sum_of_sockets_by_state(successive: list[Snapshot], limits: SeriesLimits) -> None:
    for snapshot, families in scrapes(successive, limits):
        by_state: Counter[str] = Counter()
        inbound: Counter[str] = Counter()
        for group, count in (snapshot.groups or {}).items():
            by_state[STATE_NAMES[group.state]] += count
            inbound[STATE_NAMES[group.state]] += count * (group.direction is Direction.INBOUND)
        for state in STATE_NAMES.values():
            assert total(families["socket_host_states"], state=state) == by_state[state]
            assert total(families["socket_states"], state=state) == by_state[state]
            assert total(families["socket_listener_states"], state=state) == inbound[state]


@given(SOCKETS, LIMITS)
def test_sum_of_time_wait_attribution(successive: list[Snapshot], limits: SeriesLimits) -> None:
    for _, families in scrapes(successive, limits):
        waiting = total(families["socket_host_states"], state="time_wait")
        assert total(families["socket_time_wait_attribution"]) == waiting


@given(CLOSE_WAIT_CONNECTIONS, LIMITS)
def test_every_close_wait_has_a_cause_and_an_age(successive: list[Snapshot], limits: SeriesLimits) -> None:
    for snapshot, families in scrapes(successive, limits):
        ages = [row.age_seconds for row in snapshot.close_wait or ()]
        assert total(families["socket_close_wait_sockets"]) == len(ages)
        for cause in Cause:
            expected = sum(row.cause == cause for row in snapshot.close_wait or ())
            assert total(families["socket_close_wait_sockets"], cause=cause) == expected
        family = families["socket_close_wait_age_seconds"]
        assert total(family, "_gcount") == total(family, "_bucket", le="+Inf") == len(ages)
        assert total(family, "_bucket", le="60.0") == sum(age <= 60 for age in ages)
        sending = [row.age_seconds for row in snapshot.close_wait or () if row.cause is Cause.SENDING]
        family = families["socket_close_wait_sending_age_seconds"]
        assert total(family, "_gcount") == total(family, "_bucket", le="+Inf") == len(sending)
        assert total(family, "_bucket", le="60.0") == sum(age <= 60 for age in sending)
        family = families["socket_close_wait_age_seconds"]
        oldest = [sample.value for sample in families["socket_close_wait_oldest_age_seconds"].samples]
        # Rounded to a millisecond for each process.
        assert total(family, "_gsum") == pytest.approx(fsum(ages), abs=0.001 * len(oldest))
        assert max(oldest, default=None) == max((round(age, 3) for age in ages), default=None)


@given(QUEUES, LIMITS)
def test_sum_of_queue_bytes(successive: list[Snapshot], limits: SeriesLimits) -> None:
    for snapshot, families in scrapes(successive, limits):
        queues = (snapshot.queue_bytes or {}).values()
        assert total(families["socket_receive_queue_bytes"]) == sum(unread for unread, _ in queues)
        assert total(families["socket_send_queue_bytes"]) == sum(unsent for _, unsent in queues)


@given(OPEN_FDS, LIMITS)
def test_sum_of_open_fds_and_highest_ratio(successive: list[Snapshot], limits: SeriesLimits) -> None:
    for snapshot, families in scrapes(successive, limits):
        usages = snapshot.fd_usage.values()
        assert total(families["socket_process_open_fds"]) == sum(usage.open for usage in usages)
        ratios = [sample.value for sample in families["socket_process_worst_fd_ratio"].samples]
        limited = [usage.open / usage.limit for usage in usages if usage.limit]
        assert max(ratios, default=None) == max(limited, default=None)


@given(DEAD_FDS, LIMITS)
def test_sum_of_dead_fds_and_their_ages(successive: list[Snapshot], limits: SeriesLimits) -> None:
    for snapshot, families in scrapes(successive, limits):
        dead_fds = snapshot.dead_fds
        assert dead_fds is not None
        lost = sum(dead_fd.was_connected for dead_fd in dead_fds)
        assert total(families["socket_dead_fds"], connection="lost") == lost
        assert total(families["socket_dead_fds"], connection="unknown") == len(dead_fds) - lost
        assert total(families["socket_dead_fds_age_seconds"], "_gcount") == len(dead_fds)
        seconds = fsum(dead_fd.age_seconds for dead_fd in dead_fds)
        assert total(families["socket_dead_fds_age_seconds"], "_gsum") == pytest.approx(seconds, abs=0.1)


@given(SOCKETS | CLOSE_WAIT_CONNECTIONS | QUEUES | OPEN_FDS | DEAD_FDS, LIMITS)
def test_limits_of_series_and_processes(successive: list[Snapshot], limits: SeriesLimits) -> None:
    for _, families in scrapes(successive, limits):
        for spec in catalog.METRICS:
            if isinstance(spec, GaugeSpec) and "process" in spec.labels:
                samples = families[spec.name].samples
                names = {sample.labels["process"] for sample in samples}
                assert len(samples) <= limits.max_series, spec.name
                if spec not in (
                    catalog.SOCKET_LISTENER_ACCEPT_QUEUE_LENGTH,
                    catalog.SOCKET_LISTENER_ACCEPT_QUEUE_LIMIT,
                ):
                    assert len(names - {"unknown", "other"}) <= limits.max_processes, spec.name


def names(family: Metric) -> set[str]:
    return {sample.labels["process"] for sample in family.samples}


@given(CLOSE_WAIT_CONNECTIONS | OPEN_FDS | DEAD_FDS, LIMITS)
def test_related_metrics_name_the_same_processes(successive: list[Snapshot], limits: SeriesLimits) -> None:
    for _, families in scrapes(successive, limits):
        aged = names(families["socket_close_wait_age_seconds"])
        assert aged == names(families["socket_close_wait_oldest_age_seconds"])
        assert aged - {"other"} == names(families["socket_close_wait_sockets"]) - {"other"}
        dead = names(families["socket_dead_fds_age_seconds"])
        assert dead == names(families["socket_dead_fds_oldest_age_seconds"])
        assert dead - {"other"} == names(families["socket_dead_fds"]) - {"other"}
        opened = names(families["socket_process_open_fds"])
        assert names(families["socket_process_worst_fd_ratio"]) <= opened
