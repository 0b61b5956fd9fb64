"""What is remembered of each socket, by kind."""

from __future__ import annotations

from collections import Counter

from exporter.model.sockets import CLOSE_WAIT, ESTABLISHED, LAST_ACK, SYN_RECV, TIME_WAIT, KeySpace
from exporter.tracking.group_cache import GroupCache

OPEN, WAITING = KeySpace(ESTABLISHED), KeySpace(ESTABLISHED, owned=False)
HALF_CLOSED, ENDING = KeySpace(CLOSE_WAIT), KeySpace(LAST_ACK, owned=False)
ENDED = KeySpace(TIME_WAIT, owned=False)


def remembering(**numbers: dict[int, int]) -> GroupCache:
    cache = GroupCache()
    kinds = {"open": OPEN, "waiting": WAITING, "half_closed": HALF_CLOSED, "ending": ENDING, "ended": ENDED}
    for kind, known in numbers.items():
        cache.for_keyspace(kinds[kind]).update(known)
    return cache


def test_latest_state_of_a_connection_wins() -> None:
    cache = remembering(ended={1: 10}, half_closed={1: 11, 2: 12}, waiting={2: 13, 3: 14}, open={3: 15})
    assert cache.previous([1, 2, 3, 4]) == [10, 12, 15, None]


def test_dropped_entries_are_returned_by_previous() -> None:
    cache = remembering(open={1: 10, 2: 20}, half_closed={3: 10})
    cache.drop({10})
    assert cache.for_keyspace(OPEN) == {2: 20}
    assert cache.for_keyspace(HALF_CLOSED) == {}
    assert cache.previous([1, 2, 3]) == [10, 20, 10]
    cache.for_keyspace(OPEN)[1] = 30
    assert cache.previous([1]) == [30]


def test_time_wait_is_dropped_only_by_its_own_method() -> None:
    cache = remembering(ended={1: 10, 2: 20}, open={3: 10})
    cache.drop({10})
    assert cache.for_keyspace(ENDED) == {1: 10, 2: 20}
    cache.drop_time_wait({10})
    assert cache.for_keyspace(ENDED) == {2: 20}
    assert cache.previous([1]) == [None]


def test_dropped_entries_can_be_forgotten() -> None:
    cache = remembering(open={1: 10, 2: 20})
    cache.drop({10})
    cache.forget_dropped()
    assert cache.previous([1, 2]) == [None, 20]
    assert cache.group_ids() == {20}


def test_replace_changes_one_keyspace() -> None:
    cache = remembering(open={1: 10, 2: 20}, ended={3: 30})
    cache.replace(OPEN, {2: 20})
    assert cache.previous([1, 2, 3]) == [None, 20, 30]


class TestMostStale:
    """Too many of a kind are remembered when some are to be forgotten lest its table grows."""

    def test_none_if_nothing_is_cached(self) -> None:
        assert GroupCache().most_stale({OPEN: 1}) is None

    def test_none_up_to_a_quarter_more_entries_than_sockets(self) -> None:
        cache = remembering(open=dict.fromkeys(range(20_000), 1))
        assert cache.most_stale({OPEN: 16_000}) is None
        cache.for_keyspace(OPEN)[-1] = 1
        assert cache.most_stale({OPEN: 16_000}) == OPEN

    def test_keyspace_with_the_most_stale_entries(self) -> None:
        cache = remembering(open=dict.fromkeys(range(30_000), 1), ended=dict.fromkeys(range(20_000), 1))
        assert cache.most_stale({OPEN: 16_000, ENDED: 4_000}) == ENDED
        assert cache.most_stale({OPEN: 14_000, ENDED: 8_000}) == OPEN

    def test_keyspace_without_sockets_is_stale(self) -> None:
        cache = remembering(open=dict.fromkeys(range(2_000), 1))
        assert cache.most_stale(Counter()) == OPEN


def test_renumber_replaces_all_ids() -> None:
    cache = remembering(open={1: 10, 2: 20}, ended={3: 30})
    cache.drop({10})
    cache.renumber({10: 0, 20: 1, 30: 2})
    assert cache.previous([1, 2, 3]) == [0, 1, 2]
    assert cache.group_ids() == {0, 1, 2}


def test_length_is_the_number_of_entries() -> None:
    assert len(remembering(open={1: 10, 2: 20}, ended={3: 30})) == 3


def test_every_state_has_a_place_in_the_order() -> None:
    cache = GroupCache()
    for state in range(1, 12):
        cache.for_keyspace(KeySpace(state))[7] = state
    assert cache.previous([7]) == [TIME_WAIT]
    cache = GroupCache()
    cache.for_keyspace(OPEN)[7] = 1
    cache.for_keyspace(KeySpace(SYN_RECV, owned=False))[7] = 2
    assert cache.previous([7]) == [1]
