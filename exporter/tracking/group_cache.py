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

# A connection passes the states in this order (RFC 9293, figure 5): if a key is in several key spaces, the
# last one is the most recent.
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

# Maximum ratio of cached to existing sockets of a key space, above which its cache is rebuilt. CPython never
# reuses the slots of deleted dict entries and doubles the table when it is full (Objects/dictobject.c).
_MAX_CACHED_RATIO: Final = 1.25


class GroupCache:
    """Group id of each socket by key, in one dict for each key space."""

    def __init__(self) -> None:
        self._by_keyspace: dict[KeySpace, dict[SocketKey, int]] = {}
        # Entries that were dropped before this collection, whose sockets have to be classified again.
        self._dropped: dict[SocketKey, int] = {}

    def for_keyspace(self, keyspace: KeySpace) -> dict[SocketKey, int]:
        """Return key -> group id of a key space. The caller may change the dict."""
        if keyspace not in self._by_keyspace:
            self._by_keyspace[keyspace] = {}
            ordered = sorted(self._by_keyspace, key=_state_order)
            self._by_keyspace = {keyspace: self._by_keyspace[keyspace] for keyspace in ordered}
        return self._by_keyspace[keyspace]

    def __len__(self) -> int:
        return sum(map(len, self._all()))

    def previous(self, keys: Sequence[SocketKey]) -> list[int | None]:
        """Return the last group ids of these keys, in any key space; those of dropped entries as well."""
        ids: Iterator[int | None] = map(self._dropped.get, keys)
        for known in self._by_keyspace.values():
            ids = map(known.get, keys, ids)
        return list(ids)

    def drop(self, ids: Collection[int]) -> None:
        """Drop the entries with these group ids, except in TIME_WAIT.

        previous() still returns them, until forget_dropped() is called.
        """
        for keyspace, known in self._by_keyspace.items():
            if keyspace.state != TIME_WAIT:
                stale = list(map(ids.__contains__, known.values()))
                self._dropped.update(compress(known.items(), stale))
                if any(stale):
                    self._by_keyspace[keyspace] = _without_ids(ids, known)

    def replace(self, keyspace: KeySpace, ids: dict[SocketKey, int]) -> None:
        """Replace all entries of a key space."""
        self._by_keyspace[keyspace] = ids

    def forget_dropped(self) -> None:
        """Forget the dropped entries, after their sockets have been classified again."""
        self._dropped.clear()

    def most_stale(self, totals: Mapping[KeySpace, int]) -> KeySpace | None:
        """Return the key space with most closed sockets above the maximum ratio; None if all are below it.

        totals: number of existing sockets in each key space.
        """
        excess = {
            keyspace: len(known) - int(_MAX_CACHED_RATIO * totals[keyspace])
            for keyspace, known in self._by_keyspace.items()
        }
        keyspace = max(excess, key=excess.__getitem__, default=None)
        return keyspace if keyspace and excess[keyspace] > 0 else None

    def group_ids(self) -> set[int]:
        """Return all group ids in use."""
        return set(chain.from_iterable(known.values() for known in self._all()))

    def renumber(self, new_ids: Mapping[int, int]) -> None:
        """Replace each group id by its new one."""
        for known in self._all():
            known.update(zip(known, map(new_ids.__getitem__, known.values()), strict=True))

    def _all(self) -> Iterator[dict[SocketKey, int]]:
        yield self._dropped
        yield from self._by_keyspace.values()


def _state_order(keyspace: KeySpace) -> tuple[int, bool]:
    return _STATE_ORDER.index(keyspace.state), keyspace.owned


def _without_ids(dropped_ids: Collection[int], ids_by_key: Mapping[SocketKey, int]) -> dict[SocketKey, int]:
    return {key: group_id for key, group_id in ids_by_key.items() if group_id not in dropped_ids}
