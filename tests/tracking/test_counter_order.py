"""The order of one count: TIME_WAIT last, uncacheable sockets again, and the count of bound ports."""

from __future__ import annotations

from collections import Counter

import pytest

from exporter.model.groups import SocketGroup
from exporter.model.host import EphemeralRange
from exporter.model.sockets import CLOSE_WAIT, ESTABLISHED, SYN_RECV, TIME_WAIT
from exporter.portable import psutil_source
from exporter.tracking.bound_ports import BoundPortCounter
from exporter.tracking.counter import SocketCounter
from exporter.tracking.pending import CountInProgress

from .batches import RecordingClassifier, batches, complete, count, group, one_by_one, socket


@pytest.mark.parametrize("source", ["kernel", "portable"])
def test_time_wait_is_classified_last(source: str) -> None:
    rows = [
        socket(cookie, state)
        for cookie, state in enumerate([TIME_WAIT, ESTABLISHED, TIME_WAIT, CLOSE_WAIT], 1)
    ]
    counter = SocketCounter()
    pending = counter.begin(batches(rows) if source == "kernel" else psutil_source.to_batches(rows))
    recorded = RecordingClassifier()
    states_before_time_wait: list[int] = []

    def learn(groups: list[SocketGroup]) -> None:
        states_before_time_wait.extend(group.state for group in groups)
        assert [row.state for row in recorded.rows] == [ESTABLISHED, CLOSE_WAIT]

    counts = counter.complete(pending, one_by_one(recorded), lambda: None, learn)
    assert set(states_before_time_wait) == {ESTABLISHED, CLOSE_WAIT}
    assert [row.state for row in recorded.rows] == [ESTABLISHED, CLOSE_WAIT, TIME_WAIT, TIME_WAIT]
    assert counts == Counter(map(group, rows))


def test_deferred_sockets_are_classified_before_time_wait() -> None:
    counter = SocketCounter()
    pending = counter.begin(batches([socket(1), socket(2, TIME_WAIT)]))
    recorded = RecordingClassifier()

    def deferred() -> CountInProgress:
        assert [row.cookie for row in recorded.rows] == [1]
        return counter.extend(pending, batches([socket(3, SYN_RECV), socket(4, TIME_WAIT)]))

    counts = counter.complete(pending, one_by_one(recorded), deferred, lambda _: None)
    assert [row.cookie for row in recorded.rows] == [1, 3, 2, 4]
    assert counts.total() == 4


@pytest.mark.parametrize("source", ["kernel", "portable"])
def test_only_invalidated_time_wait_is_classified_again(source: str) -> None:
    rows = [socket(1), socket(2, TIME_WAIT, 443), socket(3, TIME_WAIT, 80), socket(4, CLOSE_WAIT)]
    source_batches = batches(rows) if source == "kernel" else list(psutil_source.to_batches(rows))
    counter = SocketCounter()
    count(counter, *source_batches)
    counter.invalidate_time_wait(lambda group: group.state == TIME_WAIT and group.port == 443)
    recorded = RecordingClassifier()
    complete(counter, counter.begin(source_batches), recorded)
    assert recorded.rows == [rows[1]]


def test_uncacheable_sockets_are_counted_and_classified_again() -> None:
    counter = SocketCounter()
    for _ in range(2):
        pending = counter.begin(batches([socket(1, owner_key=9), socket(2, TIME_WAIT)]))
        assert pending.unclassified_owner_keys() == {9, 1}
        assert complete(counter, pending, cacheable=False).total() == 2


def test_port_counter_gets_the_endpoints_of_all_sockets() -> None:
    counter = SocketCounter()
    rows = [socket(cookie)._replace(local_port=port) for cookie, port in enumerate((50_000, 50_001, 9), 1)]
    count(counter, *batches(rows[:1]))
    ports = BoundPortCounter(EphemeralRange(50_000, 50_002))
    counter.begin(batches([*rows, socket(4, TIME_WAIT)._replace(local_port=50_002)]), ports)
    assert ports.max_per_address() == 3
