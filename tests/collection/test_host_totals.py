"""Totals of the host, read while a collection hangs."""

from __future__ import annotations

from dataclasses import replace

import pytest

from exporter.collection.host_totals import HostTotals
from exporter.collection.interfaces import HostReaders
from exporter.model.collectors import CollectorName
from exporter.model.snapshot import PartialSnapshot, build_empty_partial_snapshot
from exporter.model.sockets import CLOSE_WAIT, LISTEN, STATE_NAMES, TIME_WAIT

from .host import Host, outbound


class Reading:
    """Totals of a simulated host, and the collection that is running on it."""

    def __init__(self, host: Host) -> None:
        self.running: PartialSnapshot | None = build_empty_partial_snapshot(10.0)
        self.now = 20.0
        readers = HostReaders(lambda: host.limits, lambda: host.counters, lambda _: pytest.fail("read"))
        self.totals = HostTotals(lambda: host, readers, lambda: self.running, lambda: self.now)


@pytest.fixture
def host() -> Host:
    host = Host()
    host.rows = [*host.rows, outbound(40_000), outbound(40_001, TIME_WAIT)]
    return host


@pytest.fixture
def reading(host: Host) -> Reading:
    return Reading(host)


def test_every_state_is_counted(reading: Reading, host: Host) -> None:
    for _ in range(2):
        reading.totals.refresh()
        latest = reading.totals.latest()
        assert latest is not None
        assert latest.started_at == 20.0
        snapshot = latest.snapshot
        assert (snapshot.limits, snapshot.counters) == (host.limits, host.counters)
        assert snapshot.totals_by_state is not None
        assert snapshot.totals_by_state.keys() == STATE_NAMES.keys()
        assert snapshot.totals_by_state[LISTEN] == 1
        assert snapshot.totals_by_state[TIME_WAIT] == 1
        assert sum(snapshot.totals_by_state.values()) == len(host.rows) + 1
        assert snapshot.totals_by_state[CLOSE_WAIT] == sum(row.state == CLOSE_WAIT for row in host.rows)
        assert snapshot.groups is None
        assert CollectorName.LIMITS not in snapshot.failed
        assert snapshot.failed >= {CollectorName.STATES, CollectorName.OWNERS}


@pytest.mark.parametrize("failing", [CollectorName.STATES, CollectorName.LISTENERS])
def test_limits_are_kept_if_sockets_are_unreadable(
    reading: Reading, host: Host, failing: CollectorName
) -> None:
    host.failing = {failing}
    reading.totals.refresh()
    latest = reading.totals.latest()
    assert latest is not None
    assert latest.snapshot.totals_by_state is None
    assert latest.snapshot.limits == host.limits


def test_invalid_limits_fail_the_collector_and_keep_the_totals(reading: Reading, host: Host) -> None:
    host.limits = replace(host.limits, errors=("tcp_tw_reuse: nonsense",))
    reading.totals.refresh()
    latest = reading.totals.latest()
    assert latest is not None
    assert CollectorName.LIMITS in latest.snapshot.failed
    assert latest.snapshot.totals_by_state is not None


def test_newer_results_of_the_running_collection_are_preferred(reading: Reading) -> None:
    reading.totals.refresh()
    reading.running = build_empty_partial_snapshot(21.0)
    assert reading.totals.latest() is reading.running
    reading.running = None
    assert reading.totals.latest() is None


def test_results_are_outdated_only_while_a_collection_runs(reading: Reading) -> None:
    assert not reading.totals.is_outdated(since=10.0)
    assert reading.totals.is_outdated(since=10.5)
    reading.totals.refresh()
    assert not reading.totals.is_outdated(since=20.0)
    assert reading.totals.is_outdated(since=20.5)
    reading.running = None
    assert not reading.totals.is_outdated(since=20.5)
