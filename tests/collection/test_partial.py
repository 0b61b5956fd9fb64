"""What is told of a look that goes on for too long: what it has found, and that the rest is missing."""

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
from exporter.owners.resolver import LiveSockets

from .host import Host, call

ABOUT_ITSELF = {
    "socket_scrape_collector_duration_seconds",
    "socket_scrape_collector_success",
    "socket_exporter_build_info",
    "socket_exporter_config_last_reload_successful",
    "socket_exporter_config_last_reload_success_timestamp_seconds",
}


class Slow(Host):
    """A host on which two things can be made to last."""

    def __init__(self) -> None:
        super().__init__(crowded=False)
        self.rows = [*self.rows, call(40_000), call(40_001, TIME_WAIT)]
        self.lasts: Callable[[str], None] = lambda _: None

    def resolve(self, owner_keys: Collection[int], live: LiveSockets) -> None:
        self.lasts("resolve")
        super().resolve(owner_keys, live)

    def listeners(self) -> list[Listener]:
        self.lasts("listeners")
        return super().listeners()


@pytest.fixture
def host() -> Slow:
    return Slow()


@pytest.fixture
def tracker(host: Slow) -> SocketTracker:
    return host.tracker()


def collector(tracker: SocketTracker, *without: str) -> SocketCollector:
    parts = frozenset(CollectorName) - set(without)
    limits = SeriesLimits(100, 50, 2000)
    return SocketCollector(tracker.snapshot, limits, "host", parts, partial=lambda: tracker.partial)


@contextmanager
def going_on(host: Slow, tracker: SocketTracker, where: str) -> Iterator[None]:
    """Looks in a thread, which stays there until the end."""
    there, may_go_on = threading.Event(), threading.Event()

    def lasts(here: str) -> None:
        if here == where:
            there.set()
            assert may_go_on.wait(20)

    host.lasts = lasts
    looking = threading.Thread(target=tracker.snapshot)
    looking.start()
    try:
        assert there.wait(20)
        yield
    finally:
        may_go_on.set()
        looking.join(20)


def said(families: Iterator[Metric]) -> dict[str, dict[tuple[str, ...], float]]:
    return {each.name: {tuple(s.labels.values()): s.value for s in each.samples} for each in families}


def test_totals_are_known_while_owners_are_resolved(host: Slow, tracker: SocketTracker) -> None:
    with going_on(host, tracker, "resolve"):
        told = said(collector(tracker).collect_partial(0.0))
    states = told["socket_host_states"]
    assert {state: count for (state,), count in states.items() if count} == {
        "close_wait": 1,
        "established": 2,
        "time_wait": 1,
        "listen": 1,
    }
    assert len(states) == 11
    assert told["socket_time_wait_limit"] == {(): 100}
    assert told["socket_orphans"] == {(): 3}
    assert told.keys() - ABOUT_ITSELF == {"socket_host_states", "socket_time_wait_limit", "socket_orphans"}


def test_states_not_read_yet_are_absent(host: Slow, tracker: SocketTracker) -> None:
    host.crowded = True
    with going_on(host, tracker, "resolve"):
        states = said(collector(tracker).collect_partial(0.0))["socket_host_states"]
    assert len(states) == 10
    assert ("time_wait",) not in states


def test_unfinished_collectors_fail_and_finished_ones_have_a_duration(
    host: Slow, tracker: SocketTracker
) -> None:
    with going_on(host, tracker, "resolve"):
        told = said(collector(tracker).collect_partial(0.0))
    success = {part: value for (part,), value in told["socket_scrape_collector_success"].items()}
    assert success == {part: float(part == CollectorName.LIMITS) for part in MEASURED_COLLECTORS}
    assert set(told["socket_scrape_collector_duration_seconds"]) == {(CollectorName.LIMITS,)}


def test_totals_equal_those_of_the_finished_collection(host: Slow, tracker: SocketTracker) -> None:
    tracker.snapshot()
    host.rows = [*host.rows, call(40_002)]
    with going_on(host, tracker, "resolve"):
        early = said(collector(tracker).collect_partial(0.0))["socket_host_states"]
    host.lasts = lambda _: None
    assert early == said(collector(tracker).collect())["socket_host_states"]


def test_only_limits_are_known_while_sockets_are_read(host: Slow, tracker: SocketTracker) -> None:
    with going_on(host, tracker, "listeners"):
        told = said(collector(tracker).collect_partial(0.0))
    assert "socket_host_states" not in told
    assert told["socket_time_wait_limit"] == {(): 100}


def test_totals_are_absent_if_reading_sockets_failed(host: Slow, tracker: SocketTracker) -> None:
    host.broken = {CollectorName.STATES}
    with going_on(host, tracker, "resolve"):
        assert "socket_host_states" not in said(collector(tracker).collect_partial(0.0))


def test_listeners_are_absent_from_totals_if_reading_them_failed(host: Slow, tracker: SocketTracker) -> None:
    host.broken = {CollectorName.LISTENERS}
    with going_on(host, tracker, "resolve"):
        states = said(collector(tracker).collect_partial(0.0))["socket_host_states"]
    assert ("listen",) not in states
    assert states["close_wait",] == 1


def test_failed_limits_are_not_a_success(host: Slow, tracker: SocketTracker) -> None:
    host.broken = {CollectorName.LIMITS}
    with going_on(host, tracker, "resolve"):
        told = said(collector(tracker).collect_partial(0.0))
    assert told["socket_scrape_collector_success"][CollectorName.LIMITS,] == 0
    assert "socket_time_wait_limit" not in told


def test_disabled_collectors_are_not_reported_as_failed(host: Slow, tracker: SocketTracker) -> None:
    with going_on(host, tracker, "resolve"):
        told = said(collector(tracker, CollectorName.STATES, CollectorName.LIMITS).collect_partial(0.0))
    assert told.keys() == ABOUT_ITSELF
    assert set(told["socket_scrape_collector_success"]) == {
        (part,) for part in MEASURED_COLLECTORS - {CollectorName.STATES, CollectorName.LIMITS}
    }


def test_collection_that_started_too_early_is_ignored(host: Slow, tracker: SocketTracker) -> None:
    with going_on(host, tracker, "resolve"):
        assert tracker.partial
        told = said(collector(tracker).collect_partial(tracker.partial.started_at + 0.001))
    assert told.keys() == ABOUT_ITSELF
    assert set(told["socket_scrape_collector_success"].values()) == {0}


def test_no_running_collection_gives_an_empty_snapshot(tracker: SocketTracker) -> None:
    """Not even what the last one found: that is not how things are now."""
    tracker.snapshot()
    told = said(collector(tracker).collect_partial(0.0))
    assert told.keys() == ABOUT_ITSELF
    assert set(told["socket_scrape_collector_success"].values()) == {0}


def test_partial_collect_does_not_wait_for_a_collection(host: Slow, tracker: SocketTracker) -> None:
    one = collector(tracker)
    there, may_go_on = threading.Event(), threading.Event()

    def lasts(where: str) -> None:
        if where == "resolve":
            there.set()
            assert may_go_on.wait(20)

    host.lasts = lasts
    collecting = threading.Thread(target=lambda: list(one.collect()))
    collecting.start()
    try:
        assert there.wait(20)
        assert "socket_host_states" in said(one.collect_partial(0.0))
    finally:
        may_go_on.set()
        collecting.join(20)
