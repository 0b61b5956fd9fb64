"""The counter counts correctly whether sockets are new, known, changed or closed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.model.groups import Direction, SocketGroup
from exporter.model.process import ProcessId, Unowned
from exporter.model.sockets import CLOSE_WAIT, ESTABLISHED, FIN_WAIT2, TIME_WAIT, Socket, SocketBatch
from exporter.portable import psutil_source
from exporter.tracking import counter as counter_module
from exporter.tracking import group_cache as group_cache_module
from exporter.tracking.counter import SocketCounter

from .batches import ROWS, RecordingClassifier, batch, batches, complete, count, group, socket


@pytest.fixture(scope="module", params=["large cache", "small cache"])
def cache_size(request: pytest.FixtureRequest) -> Iterator[None]:
    """Set limits of the cache so that closed sockets are either never or immediately dropped."""
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "small cache":
            patch.setattr(group_cache_module, "_MAX_CACHED_RATIO", 0.5)
            patch.setattr(counter_module, "_MIN_EMPTY_GROUPS", -1)
        yield


@pytest.mark.usefixtures("cache_size")
@given(st.lists(ROWS, min_size=1, max_size=6), st.sets(st.integers(0, 5)))
def test_every_collection_counts_exactly_the_sockets_that_exist(
    collections: list[list[Socket]], invalidated: set[int]
) -> None:
    """A cookie keeps its owner key here, as in the kernel while a socket stays in one state."""
    counter = SocketCounter()
    for number, rows in enumerate(collections):
        rows = [row._replace(owner_key=row.cookie % 3 + 1) for row in rows]
        if number in invalidated:
            counter.invalidate({ProcessId(1, 0.0)}, {2})
        counted = complete(counter, counter.begin(batches(rows)), cacheable=number % 3 != 1)
        assert Counter(map(group, rows)) == counted


QUEUED = st.dictionaries(st.integers(1, 60), st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=20)


@pytest.mark.usefixtures("cache_size")
@given(st.lists(st.tuples(ROWS, QUEUED), min_size=1, max_size=4), st.sets(st.integers(0, 3)))
def test_every_queued_byte_is_counted_in_a_group(
    collections: list[tuple[list[Socket], dict[int, tuple[int, int]]]], uncacheable: set[int]
) -> None:
    """Also those of sockets that must be classified again because their owner was unknown."""
    counter = SocketCounter()
    for number, (rows, queues) in enumerate(collections):
        pending = counter.begin(batches(rows, queues))
        complete(counter, pending, cacheable=number not in uncacheable)
        sums = counter.queue_bytes(pending)
        present = [queues[row.cookie] for row in rows if row.state != TIME_WAIT and row.cookie in queues]
        assert [sum(column) for column in zip((0, 0), *sums.values(), strict=True)] == [
            sum(column) for column in zip((0, 0), *present, strict=True)
        ]


def test_queue_bytes_are_counted_for_the_group_of_the_socket() -> None:
    counter = SocketCounter()
    rows = [socket(1, owner_key=5), socket(2, owner_key=5), socket(3, owner_key=6), socket(4, owner_key=6)]
    pending = counter.begin([batch(rows, queues={1: (10, 0), 2: (1, 2), 3: (0, 7)})])
    complete(counter, pending)
    assert counter.queue_bytes(pending) == {group(rows[0]): (11, 2), group(rows[2]): (0, 7)}


def test_known_socket_is_not_classified_again() -> None:
    counter = SocketCounter()
    count(counter, batch([socket(1), socket(2)]))
    pending = counter.begin([batch([socket(1), socket(2), socket(3, owner_key=9)])])
    assert pending.unclassified_owner_keys() == {9}


def test_owner_keys_include_known_sockets() -> None:
    counter = SocketCounter()
    count(counter, batch([socket(1, owner_key=5)]))
    pending = counter.begin([batch([socket(1, owner_key=5), socket(2, owner_key=6)])])
    assert pending.owner_keys.all() == {5, 6}


def test_changed_state_is_classified_with_the_previous_group() -> None:
    counter = SocketCounter()
    count(counter, batch([socket(1)]))
    recorded = RecordingClassifier()
    for state in (CLOSE_WAIT, FIN_WAIT2):
        pending = counter.begin([batch([socket(1, state)])])
        complete(counter, pending, recorded)
    assert [ESTABLISHED, CLOSE_WAIT] == [previous.state for previous in recorded.previous if previous]


def test_time_wait_is_counted_apart_from_its_former_state() -> None:
    counter = SocketCounter()
    count(counter, batch([socket(1)]))
    counted = count(counter, batch([socket(1, TIME_WAIT, owner_key=0)]))
    assert [TIME_WAIT] == [key.state for key in counted]


def test_invalidated_owners_are_resolved_again() -> None:
    counter = SocketCounter()
    count(counter, batch([socket(1, owner_key=5), socket(2, owner_key=6)]))
    counter.invalidate({ProcessId(5, 0.0)})
    assert counter.begin(
        [batch([socket(1, owner_key=5), socket(2, owner_key=6)])]
    ).unclassified_owner_keys() == {5}


def test_invalidated_socket_keeps_its_previous_group() -> None:
    counter = SocketCounter()
    count(counter, batch([socket(1)]))
    counter.invalidate({ProcessId(1, 0.0)})
    recorded = RecordingClassifier()
    complete(counter, counter.begin([batch([socket(1)])]), recorded)
    assert recorded.previous == [group(socket(1))]


def test_sockets_with_invalidated_owner_keys_are_resolved_again() -> None:
    """Sockets of one owner, in one of two key spaces that share the column of owner keys."""
    rows = [socket(cookie, owner_key=cookie) for cookie in range(1, 9)]
    rows += [socket(cookie, CLOSE_WAIT, owner_key=cookie) for cookie in range(9, 12)]
    first, second = batches(rows)
    together = [
        replace(first, owner_key_column=first.owner_key_column + second.owner_key_column),
        replace(second, owner_key_column=b""),
    ]
    counter = SocketCounter()
    count(counter, *together)
    counter.invalidate((), {3, 10, 99})
    recorded = RecordingClassifier()
    pending = counter.begin([*together, batch([socket(20, owner_key=20)])])
    assert pending.unclassified_owner_keys() == {3, 10, 20}
    assert complete(counter, pending, recorded).total() == 12
    assert recorded.previous == [group(rows[2]), None, group(rows[9])]
    assert counter.begin(together).unclassified_owner_keys() == set()


def test_invalidated_owner_keys_are_kept_until_a_collection_succeeds() -> None:
    counter = SocketCounter()
    count(counter, batch([socket(1)]))
    counter.invalidate((), {1})
    for cacheable in (False, False, True):
        pending = counter.begin([batch([socket(1)])])
        assert pending.unclassified_owner_keys() == {1}
        assert complete(counter, pending, cacheable=cacheable).total() == 1
    assert counter.begin([batch([socket(1)])]).unclassified_owner_keys() == set()


def test_source_without_cookies_has_no_previous_groups() -> None:
    counter = SocketCounter()
    recorded = RecordingClassifier()
    for state in (ESTABLISHED, CLOSE_WAIT):
        pending = counter.begin(psutil_source.to_batches([socket(0, state)]))
        complete(counter, pending, recorded)
    assert recorded.previous == [None, None]


def test_source_that_fails_half_way_changes_nothing() -> None:
    def failing() -> Iterator[SocketBatch]:
        yield batch([socket(2)])
        raise OSError("gone")

    counter = SocketCounter()
    count(counter, batch([socket(1)]))
    with pytest.raises(OSError, match="gone"):
        counter.begin(failing())
    assert count(counter, batch([socket(1)])) == {group(socket(1)): 1}


def test_unresolved_owner_can_be_resolved_later() -> None:
    counter = SocketCounter()
    unresolved = SocketGroup(ESTABLISHED, Unowned.NOT_FOUND, Direction.OUTBOUND, 443)
    complete(counter, counter.begin([batch([socket(1)])]), lambda _row, _previous: unresolved)
    counter.invalidate({Unowned.NOT_FOUND})
    assert count(counter, batch([socket(1)])) == {group(socket(1)): 1}
