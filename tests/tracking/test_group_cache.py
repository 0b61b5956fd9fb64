"""The cache of groups by key space."""

from __future__ import annotations

from collections import Counter

from exporter.model.sockets import CLOSE_WAIT, ESTABLISHED, LAST_ACK, SYN_RECV, TIME_WAIT, KeySpace
from exporter.tracking.group_cache import GroupCache

ESTABLISHED_OWNED, ESTABLISHED_UNOWNED = KeySpace(ESTABLISHED), KeySpace(ESTABLISHED, owned=False)
CLOSE_WAIT_OWNED, LAST_ACK_UNOWNED = KeySpace(CLOSE_WAIT), KeySpace(LAST_ACK, owned=False)
TIME_WAIT_UNOWNED = KeySpace(TIME_WAIT, owned=False)


def cache_of(**entries: dict[int, int]) -> GroupCache:
    cache = GroupCache()
    keyspaces = {
        "established": ESTABLISHED_OWNED,
        "unowned": ESTABLISHED_UNOWNED,
        "close_wait": CLOSE_WAIT_OWNED,
        "last_ack": LAST_ACK_UNOWNED,
        "time_wait": TIME_WAIT_UNOWNED,
    }
    for name, group_ids in entries.items():
        cache.for_keyspace(keyspaces[name]).update(group_ids)
    return cache


def test_latest_state_of_a_connection_wins() -> None:
    cache = cache_of(
        time_wait={1: 10}, close_wait={1: 11, 2: 12}, unowned={2: 13, 3: 14}, established={3: 15}
    )
    assert cache.previous([1, 2, 3, 4]) == [10, 12, 15, None]


def test_dropped_entries_are_returned_by_previous() -> None:
    cache = cache_of(established={1: 10, 2: 20}, close_wait={3: 10})
    cache.drop({10})
    assert cache.for_keyspace(ESTABLISHED_OWNED) == {2: 20}
    assert cache.for_keyspace(CLOSE_WAIT_OWNED) == {}
    assert cache.previous([1, 2, 3]) == [10, 20, 10]
    cache.for_keyspace(ESTABLISHED_OWNED)[1] = 30
    assert cache.previous([1]) == [30]


def test_time_wait_is_not_dropped() -> None:
    cache = cache_of(time_wait={1: 10, 2: 20}, established={3: 10})
    cache.drop({10})
    assert cache.for_keyspace(TIME_WAIT_UNOWNED) == {1: 10, 2: 20}


def test_dropped_entries_can_be_forgotten() -> None:
    cache = cache_of(established={1: 10, 2: 20})
    cache.drop({10})
    cache.forget_dropped()
    assert cache.previous([1, 2]) == [None, 20]
    assert cache.group_ids() == {20}


def test_replace_changes_one_keyspace() -> None:
    cache = cache_of(established={1: 10, 2: 20}, time_wait={3: 30})
    cache.replace(ESTABLISHED_OWNED, {2: 20})
    assert cache.previous([1, 2, 3]) == [None, 20, 30]


class TestMostStale:
    """The key space whose cache has the most entries of closed sockets, once its table would grow."""

    def test_none_if_nothing_is_cached(self) -> None:
        assert GroupCache().most_stale({ESTABLISHED_OWNED: 1}) is None

    def test_none_up_to_a_quarter_more_entries_than_sockets(self) -> None:
        cache = cache_of(established=dict.fromkeys(range(20_000), 1))
        assert cache.most_stale({ESTABLISHED_OWNED: 16_000}) is None
        cache.for_keyspace(ESTABLISHED_OWNED)[-1] = 1
        assert cache.most_stale({ESTABLISHED_OWNED: 16_000}) == ESTABLISHED_OWNED

    def test_keyspace_with_the_most_stale_entries(self) -> None:
        cache = cache_of(
            established=dict.fromkeys(range(30_000), 1), time_wait=dict.fromkeys(range(20_000), 1)
        )
        assert cache.most_stale({ESTABLISHED_OWNED: 16_000, TIME_WAIT_UNOWNED: 4_000}) == TIME_WAIT_UNOWNED
        assert cache.most_stale({ESTABLISHED_OWNED: 14_000, TIME_WAIT_UNOWNED: 8_000}) == ESTABLISHED_OWNED

    def test_keyspace_without_sockets_is_stale(self) -> None:
        cache = cache_of(established=dict.fromkeys(range(2_000), 1))
        assert cache.most_stale(Counter()) == ESTABLISHED_OWNED


def test_renumber_replaces_all_ids() -> None:
    cache = cache_of(established={1: 10, 2: 20}, time_wait={3: 30})
    cache.drop({10})
    cache.renumber({10: 0, 20: 1, 30: 2})
    assert cache.previous([1, 2, 3]) == [0, 1, 2]
    assert cache.group_ids() == {0, 1, 2}


def test_length_is_the_number_of_entries() -> None:
    assert len(cache_of(established={1: 10, 2: 20}, time_wait={3: 30})) == 3


def test_every_state_has_a_place_in_the_order() -> None:
    cache = GroupCache()
    for state in range(1, 12):
        cache.for_keyspace(KeySpace(state))[7] = state
    assert cache.previous([7]) == [TIME_WAIT]
    cache = GroupCache()
    cache.for_keyspace(ESTABLISHED_OWNED)[7] = 1
    cache.for_keyspace(KeySpace(SYN_RECV, owned=False))[7] = 2
    assert cache.previous([7]) == [1]
