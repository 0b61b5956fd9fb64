"""Partial result of a running collection: the data read so far, with the rest reported as failed."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager

import pytest
from prometheus_client.core import Metric

from exporter.collection.tracker import SocketTracker
from exporter.metrics.cardinality import SeriesLimits
from exporter.metrics.collector import SocketCollector
from exporter.model.collectors import MEASURED_COLLECTORS, CollectorName
from exporter.model.sockets import TIME_WAIT, Listener
from exporter.owners.resolver import LiveOwnerKeys

from .host import Host, outbound

OWN_METRICS = {
    "socket_scrape_collector_duration_seconds",
    "socket_scrape_collector_success",
    "socket_exporter_build_info",
    "socket_exporter_config_last_reload_successful",
    "socket_exporter_config_last_reload_success_timestamp_seconds",
}


class Slow(Host):
    """A host on which two operations can be delayed."""

    def __init__(self) -> None:
        super().__init__(crowded=False)
        self.rows = [*self.rows, outbound(40_000), outbound(40_001, TIME_WAIT)]
        self.delay: Callable[[str], None] = lambda _: None

    def resolve(self, owner_keys: Collection[int], live: LiveOwnerKeys) -> None:
        self.delay("resolve")
        super().resolve(owner_keys, live)

    def listeners(self) -> list[Listener]:
        self.delay("listeners")
        return super().listeners()


@pytest.fixture
def host() -> Slow:
    return Slow()


@pytest.fixture
def tracker(host: Slow) -> SocketTracker:
    return host.tracker()


def collector(tracker: SocketTracker, *disabled: str) -> SocketCollector:
    enabled = frozenset(CollectorName) - set(disabled)
    limits = SeriesLimits(100, 50, 2000)
    return SocketCollector(tracker.snapshot, limits, "host", enabled, partial=lambda: tracker.partial)


@contextmanager
def collecting_at(host: Slow, tracker: SocketTracker, operation: str) -> Iterator[None]:
    """Collect in a thread that waits at `operation` until the end of the context."""
    reached, released = threading.Event(), threading.Event()

    def delay(current: str) -> None:
        if current == operation:
            reached.set()
            assert released.wait(20)

    host.delay = delay
    thread = threading.Thread(target=tracker.snapshot)
    thread.start()
    try:
        assert reached.wait(20)
        yield
    finally:
        released.set()
        thread.join(20)


def values(families: Iterator[Metric]) -> dict[str, dict[tuple[str, ...], float]]:
    return {
        family.name: {tuple(sample.labels.values()): sample.value for sample in family.samples}
        for family in families
    }


def test_totals_are_known_while_owners_are_resolved(host: Slow, tracker: SocketTracker) -> None:
    with collecting_at(host, tracker, "resolve"):
        exported = values(collector(tracker).collect_partial(0.0))
    states = exported["socket_host_states"]
    assert {state: count for (state,), count in states.items() if count} == {
        "close_wait": 1,
        "established": 2,
        "time_wait": 1,
        "listen": 1,
    }
    assert len(states) == 11
    assert exported["socket_time_wait_limit"] == {(): 100}
    assert exported["socket_orphans"] == {(): 3}
    assert exported.keys() - OWN_METRICS == {"socket_host_states", "socket_time_wait_limit", "socket_orphans"}


def test_states_not_read_yet_are_absent(host: Slow, tracker: SocketTracker) -> None:
    host.crowded = True
    with collecting_at(host, tracker, "resolve"):
        states = values(collector(tracker).collect_partial(0.0))["socket_host_states"]
    assert len(states) == 10
    assert ("time_wait",) not in states


def test_only_finished_collectors_succeed_and_have_a_duration(host: Slow, tracker: SocketTracker) -> None:
    with collecting_at(host, tracker, "resolve"):
        exported = values(collector(tracker).collect_partial(0.0))
    success = {name: value for (name,), value in exported["socket_scrape_collector_success"].items()}
    assert success == {name: float(name == CollectorName.LIMITS) for name in MEASURED_COLLECTORS}
    assert set(exported["socket_scrape_collector_duration_seconds"]) == {(CollectorName.LIMITS,)}


def test_totals_equal_those_of_the_finished_collection(host: Slow, tracker: SocketTracker) -> None:
    tracker.snapshot()
    host.rows = [*host.rows, outbound(40_002)]
    with collecting_at(host, tracker, "resolve"):
        partial_states = values(collector(tracker).collect_partial(0.0))["socket_host_states"]
    host.delay = lambda _: None
    assert partial_states == values(collector(tracker).collect())["socket_host_states"]


def test_only_limits_are_known_while_sockets_are_read(host: Slow, tracker: SocketTracker) -> None:
    with collecting_at(host, tracker, "listeners"):
        exported = values(collector(tracker).collect_partial(0.0))
    assert "socket_host_states" not in exported
    assert exported["socket_time_wait_limit"] == {(): 100}


def test_totals_are_absent_if_reading_sockets_failed(host: Slow, tracker: SocketTracker) -> None:
    host.failing = {CollectorName.STATES}
    with collecting_at(host, tracker, "resolve"):
        assert "socket_host_states" not in values(collector(tracker).collect_partial(0.0))


def test_listen_is_absent_from_totals_if_listeners_failed(host: Slow, tracker: SocketTracker) -> None:
    host.failing = {CollectorName.LISTENERS}
    with collecting_at(host, tracker, "resolve"):
        states = values(collector(tracker).collect_partial(0.0))["socket_host_states"]
    assert ("listen",) not in states
    assert states["close_wait",] == 1


def test_failed_limits_are_not_a_success(host: Slow, tracker: SocketTracker) -> None:
    host.failing = {CollectorName.LIMITS}
    with collecting_at(host, tracker, "resolve"):
        exported = values(collector(tracker).collect_partial(0.0))
    assert exported["socket_scrape_collector_success"][CollectorName.LIMITS,] == 0
    assert "socket_time_wait_limit" not in exported


def test_disabled_collectors_are_not_reported_as_failed(host: Slow, tracker: SocketTracker) -> None:
    with collecting_at(host, tracker, "resolve"):
        exported = values(collector(tracker, CollectorName.STATES, CollectorName.LIMITS).collect_partial(0.0))
    assert exported.keys() == OWN_METRICS
    assert set(exported["socket_scrape_collector_success"]) == {
        (name,) for name in MEASURED_COLLECTORS - {CollectorName.STATES, CollectorName.LIMITS}
    }


def test_collection_that_started_too_early_is_ignored(host: Slow, tracker: SocketTracker) -> None:
    with collecting_at(host, tracker, "resolve"):
        assert tracker.partial
        exported = values(collector(tracker).collect_partial(tracker.partial.started_at + 0.001))
    assert exported.keys() == OWN_METRICS
    assert set(exported["socket_scrape_collector_success"].values()) == {0}


def test_no_running_collection_gives_an_empty_snapshot(tracker: SocketTracker) -> None:
    """Not that of the previous collection, which is outdated."""
    tracker.snapshot()
    exported = values(collector(tracker).collect_partial(0.0))
    assert exported.keys() == OWN_METRICS
    assert set(exported["socket_scrape_collector_success"].values()) == {0}


def test_partial_collect_does_not_wait_for_a_collection(host: Slow, tracker: SocketTracker) -> None:
    exporter_collector = collector(tracker)
    reached, released = threading.Event(), threading.Event()

    def delay(operation: str) -> None:
        if operation == "resolve":
            reached.set()
            assert released.wait(20)

    host.delay = delay
    thread = threading.Thread(target=lambda: list(exporter_collector.collect()))
    thread.start()
    try:
        assert reached.wait(20)
        assert "socket_host_states" in values(exporter_collector.collect_partial(0.0))
    finally:
        released.set()
        thread.join(20)
