"""Cache of the group in which each socket was counted, for the next collection."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import chain, compress
from typing import Final

from ..model.sockets import (
    CLOSE,
    CLOSE_WAIT,
    CLOSING,
    ESTABLISHED,
    FIN_WAIT1,
    FIN_WAIT2,
    LAST_ACK,
    LISTEN,
    SYN_RECV,
    SYN_SENT,
    TIME_WAIT,
    KeySpace,
    SocketKey,
)

# A connection never goes back in this order (RFC 9293, figure 5): the last state in which a key was seen
# wins.
_STATE_ORDER: Final = (
    CLOSE,
    LISTEN,
    SYN_SENT,
    SYN_RECV,
    ESTABLISHED,
    CLOSE_WAIT,
    LAST_ACK,
    FIN_WAIT1,
    FIN_WAIT2,
    CLOSING,
    TIME_WAIT,
)

# The cache of a key space is rebuilt when it holds more than this many times the sockets that exist: CPython
# never reuses the slots of deleted dict entries and doubles the table when it is full (Objects/dictobject.c).
_MAX_CACHED_RATIO: Final = 1.25


class GroupCache:
    """The group id of each socket by key, apart for each key space."""

    def __init__(self) -> None:
        self._by_space: dict[KeySpace, dict[SocketKey, int]] = {}
        # Ids that were dropped in this collection, so that their sockets are classified again.
        self._dropped: dict[SocketKey, int] = {}

    def for_keyspace(self, space: KeySpace) -> dict[SocketKey, int]:
        """Return the group ids of a key space. The caller may change them."""
        if space not in self._by_space:
            self._by_space[space] = {}
            self._by_space = {each: self._by_space[each] for each in sorted(self._by_space, key=_order)}
        return self._by_space[space]

    def __len__(self) -> int:
        return sum(map(len, self._all()))

    def previous(self, keys: Sequence[SocketKey]) -> list[int | None]:
        """Return the group ids that these keys had when last seen, in whatever key space, or when dropped."""
        ids: Iterator[int | None] = map(self._dropped.get, keys)
        for known in self._by_space.values():
            ids = map(known.get, keys, ids)
        return list(ids)

    def drop(self, ids: Collection[int]) -> None:
        """Drop the entries with these group ids, except TIME_WAIT; previous() returns them until
        forgotten."""
        for space, known in self._by_space.items():
            if space.state != TIME_WAIT:
                stale = list(map(ids.__contains__, known.values()))
                self._dropped.update(compress(known.items(), stale))
                if any(stale):
                    self._by_space[space] = _without(ids, known)

    def drop_time_wait(self, ids: Collection[int]) -> None:
        """Drop the entries in TIME_WAIT with these group ids for good."""
        for space, known in self._by_space.items():
            if space.state == TIME_WAIT and not set(known.values()).isdisjoint(ids):
                self._by_space[space] = _without(ids, known)

    def replace(self, space: KeySpace, known: dict[SocketKey, int]) -> None:
        """Replace all entries of a key space."""
        self._by_space[space] = known

    def forget_dropped(self) -> None:
        """Forget the dropped entries whose sockets were not classified again."""
        self._dropped.clear()

    def most_stale(self, totals: Mapping[KeySpace, int]) -> KeySpace | None:
        """Return the key space that holds too many sockets that are gone; the worst of several, or None.

        totals: the number of sockets that exist in each key space.
        """
        excess = {
            space: len(known) - int(_MAX_CACHED_RATIO * totals[space])
            for space, known in self._by_space.items()
        }
        space = max(excess, key=excess.__getitem__, default=None)
        return space if space and excess[space] > 0 else None

    def group_ids(self) -> set[int]:
        """Return all group ids in use."""
        return set(chain.from_iterable(known.values() for known in self._all()))

    def renumber(self, new_ids: Mapping[int, int]) -> None:
        """Replace each group id by its new one."""
        for known in self._all():
            known.update(zip(known, map(new_ids.__getitem__, known.values()), strict=True))

    def _all(self) -> Iterator[dict[SocketKey, int]]:
        yield self._dropped
        yield from self._by_space.values()


def _order(space: KeySpace) -> tuple[int, bool]:
    return _STATE_ORDER.index(space.state), space.owned


def _without(ids: Collection[int], known: Mapping[SocketKey, int]) -> dict[SocketKey, int]:
    return {key: group_id for key, group_id in known.items() if group_id not in ids}
