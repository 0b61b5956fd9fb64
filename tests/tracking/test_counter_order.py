"""The order of one count: TIME_WAIT last, uncacheable sockets again, and the count of bound ports."""

from __future__ import annotations

from collections import Counter

import pytest

from exporter.model.groups import SocketGroup
from exporter.model.host import EphemeralRange
from exporter.model.process import ProcessId
from exporter.model.sockets import CLOSE_WAIT, ESTABLISHED, SYN_RECV, SYN_SENT, TIME_WAIT, Socket
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

    def learn(groups: list[SocketGroup], _: set[SocketGroup]) -> None:
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

    counts = counter.complete(pending, one_by_one(recorded), deferred, lambda *_: None)
    assert [row.cookie for row in recorded.rows] == [1, 3, 2, 4]
    assert counts.total() == 4


def opened_ports(counter: SocketCounter, *rows: Socket, cacheable: bool = True) -> set[int]:
    """Return the remote ports of the connections opened since the previous collection."""
    opened: set[SocketGroup] = set()
    pending = counter.begin(batches(rows))
    counter.complete(
        pending, one_by_one(group), lambda: None, lambda _, new: opened.update(new), cacheable=cacheable
    )
    return {new.port for new in opened}


def test_opened_connections_are_those_first_seen_unless_it_is_the_first_collection() -> None:
    counter = SocketCounter()
    idle = socket(1, port=1)
    assert opened_ports(counter, idle) == set()
    closing, connecting = socket(3, CLOSE_WAIT, port=3), socket(4, SYN_SENT, port=4)
    assert opened_ports(counter, idle, socket(2, port=2), closing, connecting) == {2, 4}
    assert opened_ports(counter, idle, socket(2, port=2), closing, connecting) == set()


def test_opened_connections_are_unknown_after_an_uncacheable_collection() -> None:
    counter = SocketCounter()
    opened_ports(counter, socket(1, port=1))
    assert opened_ports(counter, socket(1, port=1), socket(2, port=2), cacheable=False) == {2}
    assert opened_ports(counter, socket(1, port=1), socket(2, port=2)) == set()


def test_invalidated_connections_are_not_opened() -> None:
    counter = SocketCounter()
    opened_ports(counter, socket(1, port=1))
    counter.invalidate({ProcessId(1, 0.0)})
    assert opened_ports(counter, socket(1, port=1), socket(2, port=2)) == {2}


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
