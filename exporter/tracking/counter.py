"""Counts sockets by group, running Python code only for sockets that are new or have changed.

The group of every socket is cached by key, and a socket that changes gets another key. A warm collection is
therefore one pass in C over the keys; only sockets with unknown keys are classified.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from typing import Final, cast

from ..model.groups import SocketGroup
from ..model.process import Owner
from ..model.sockets import ESTABLISHED, SYN_SENT, TIME_WAIT, KeySpace, SocketBatch, SocketKey, SocketTable
from .bound_ports import BoundPortCounter
from .group_cache import GroupCache
from .pending import CountInProgress, UnclassifiedChunk

GroupIdsOf = Callable[[SocketTable, Sequence[SocketGroup | None], Callable[[SocketGroup], int]], list[int]]
"""(sockets, their previous groups or an empty sequence, group -> its id) -> id of each socket's group."""

# A connection that is first seen in one of these states has been opened since: sources without cookies do not
# recognize it in later states.
_OPENED_STATES: Final = frozenset({SYN_SENT, ESTABLISHED})

# Groups without sockets are dropped when their number exceeds this ratio of the others plus this minimum.
_MAX_EMPTY_GROUPS_RATIO: Final = 0.25
_MIN_EMPTY_GROUPS: Final = 64


class SocketCounter:
    """Counts the sockets of each collection by group, and caches each socket's group for the next one.

    A count is made by begin(), extend() and complete(), in this order.
    """

    def __init__(self) -> None:
        self._groups: list[SocketGroup] = []
        self._ids: dict[SocketGroup, int] = {}
        self._cache = GroupCache()
        # The next collection rebuilds the cache of this key space. Only one is rebuilt at a time, since the
        # old table stays in memory until the end.
        self._stale_keyspace: KeySpace | None = None
        self._has_stale_groups = False
        # Sockets to classify again, by owner key.
        self._stale_owner_keys: frozenset[int] = frozenset()
        # Whether the cache contains all sockets of the previous collection.
        self._knows_all = False
        self.id_version = 0
        """Number that changes when groups get other ids."""

    def begin(self, batches: Iterable[SocketBatch], ports: BoundPortCounter | None = None) -> CountInProgress:
        """Begin the count of a collection: count the sockets with known keys.

        ports: counter to add the local ports of all sockets to, which is expensive.

        Raises what reading the batches raises; nothing but `ports` has been changed then.
        """
        rebuilt: dict[KeySpace, dict[SocketKey, int]] = (
            {self._stale_keyspace: {}} if self._stale_keyspace else {}
        )
        return self._count_all(CountInProgress(is_first=not self._cache, rebuilt=rebuilt), batches, ports)

    def extend(
        self, count: CountInProgress, batches: Iterable[SocketBatch], ports: BoundPortCounter | None = None
    ) -> CountInProgress:
        """Count further sockets of the same collection, and return their count, which complete() adds.

        ports, errors: as for begin().
        """
        addition = CountInProgress(
            is_first=count.is_first, rebuilt={keyspace: {} for keyspace in count.rebuilt}
        )
        return self._count_all(addition, batches, ports)

    def complete(
        self,
        count: CountInProgress,
        group_ids_of: GroupIdsOf,
        read_minisocks: Callable[[], CountInProgress | None],
        learn_destinations: Callable[[list[SocketGroup], set[SocketGroup]], None],
        *,
        cacheable: bool = True,
    ) -> Counter[SocketGroup]:
        """Classify all sockets of a collection, and return their number by group.

        The order matters. The sockets read so far are classified while the kernel writes the dump of
        minisocks. TIME_WAIT comes last, since its owners are inferred from the connections to a destination.

        read_minisocks: reads the remaining sockets and returns what extend() returns, or None.
        learn_destinations: called with the groups of all sockets that are not in TIME_WAIT, and with those of
            connections that have been opened since the previous collection; none if that is not known.
        cacheable: False if the classification lacks information and must be repeated in the next collection.
        """
        self._classify(count, group_ids_of, time_wait=False, cacheable=cacheable)
        if addition := read_minisocks():
            count.add(addition)
            # Minisocks that are not in TIME_WAIT are in SYN_RECV.
            self._classify(count, group_ids_of, time_wait=False, cacheable=cacheable)
        opened = count.opened if self._knows_all and not count.is_first else set[int]()
        learn_destinations(
            [self._groups[group_id] for group_id in count.counts],
            {self._groups[group_id] for group_id in opened},
        )
        self._classify(count, group_ids_of, time_wait=True, cacheable=cacheable)
        return self._finish(count)

    def totals_by_state(self, count: CountInProgress) -> Counter[int]:
        """Return the number of sockets in each state, whether they are classified or not."""
        totals: Counter[int] = Counter()
        for group_id, number in count.counts.items():
            totals[self._groups[group_id].state] += number
        for keyspace, sockets in count.unclassified.items():
            totals[keyspace.state] += len(sockets)
        return totals

    def queue_bytes(self, count: CountInProgress) -> dict[SocketGroup, tuple[int, int]]:
        """Return (receive queue, send queue) of the classified sockets, in bytes, by group."""
        receive_bytes: defaultdict[int | None, int] = defaultdict(int)
        send_bytes: defaultdict[int | None, int] = defaultdict(int)
        for keyspace, entries in count.nonempty_queues:
            ids = self._cached_ids(keyspace, entries, count)
            for group_id, (_, receive_queue_bytes, send_queue_bytes) in zip(ids, entries, strict=True):
                receive_bytes[group_id] += receive_queue_bytes
                send_bytes[group_id] += send_queue_bytes
        # Sockets that could not be classified are counted under None.
        return {
            self._groups[group_id]: (receive_bytes[group_id], send_bytes[group_id])
            for group_id in receive_bytes
            if group_id is not None
        }

    def invalidate(self, owners: Collection[Owner], owner_keys: Collection[int] = ()) -> None:
        """Have the next collection classify again all sockets of these owners, and those with these keys.

        The former are dropped from the cache. The latter are recognized when they are read, which is cheap
        for a few of the many sockets of an owner.
        """
        self._stale_owner_keys = self._stale_owner_keys.union(owner_keys)
        if owners:
            self._has_stale_groups = True
            self._cache.drop(self._ids_where(lambda group: group.owner in owners))

    def previous_groups(self, cookies: Sequence[int]) -> list[SocketGroup | None]:
        """Return the groups in which the sockets with these cookies were last counted, in any state.

        Sources without cookies have 0, which is never a key.
        """
        return self._groups_by_id(self._cache.previous(cookies))

    def owners(self) -> set[Owner]:
        """Return the owners of all groups."""
        return {group.owner for group in self._groups}

    def _groups_by_id(self, ids: Iterable[int | None]) -> list[SocketGroup | None]:
        groups = self._groups
        return [None if group_id is None else groups[group_id] for group_id in ids]

    def _ids_where(self, matches: Callable[[SocketGroup], bool]) -> set[int]:
        return {group_id for group_id, group in enumerate(self._groups) if matches(group)}

    def _count_all(
        self, count: CountInProgress, batches: Iterable[SocketBatch], ports: BoundPortCounter | None
    ) -> CountInProgress:
        has_stale = False
        for batch in batches:
            if self._stale_owner_keys and batch.owner_key_column:
                # The column is that of the following batches as well, up to the next one that has any.
                owner_keys = memoryview(batch.owner_key_column).cast("I")
                has_stale = not self._stale_owner_keys.isdisjoint(owner_keys)
            self._count(batch, count, self._stale_positions(batch) if has_stale else ())
            if ports is not None:
                ports.add(batch.local_endpoints(ports.ephemeral.low, ports.ephemeral.high))
        return count

    def _stale_positions(self, batch: SocketBatch) -> list[int]:
        owner_keys = batch.select(range(len(batch.keys))).owner_keys()
        return [position for position, key in enumerate(owner_keys) if key in self._stale_owner_keys]

    def _count(self, batch: SocketBatch, count: CountInProgress, stale: Iterable[int]) -> None:
        """Count the sockets of a batch. Those at the stale positions have to be classified again."""
        ids = list(map(self._cache.for_keyspace(batch.keyspace).get, batch.keys))
        for position in stale:
            ids[position] = None
        count.totals[batch.keyspace] += len(ids)
        if batch.keyspace in count.rebuilt:
            known_ids = cast(list[int], ids)  # Contains None until all sockets are classified.
            count.rebuilt[batch.keyspace].update(zip(batch.keys, known_ids, strict=True))
        count.counts.update(ids)  # type: ignore[arg-type]  # the next line removes None
        unknown_count = count.counts.pop(cast(int, None), 0)
        if unknown_count:
            all_unknown = unknown_count == len(ids)
            positions = range(len(ids)) if all_unknown else _positions_of_none(ids)
            table = batch.select(positions)
            previous = [] if count.is_first else self._cache.previous(table.cookies())
            keys = batch.keys if all_unknown else [batch.keys[position] for position in positions]
            count.unclassified[batch.keyspace].add(UnclassifiedChunk(keys, table, previous))
        count.owner_keys.add(batch.owner_key_column)
        if count.unclassified:
            # The set will be needed: make it now, while the kernel writes the next part of the dump.
            count.owner_keys.all()
        if batch.nonempty_queues:
            count.nonempty_queues.append((batch.keyspace, batch.nonempty_queues))

    def _classify(
        self, count: CountInProgress, group_ids_of: GroupIdsOf, *, time_wait: bool, cacheable: bool
    ) -> None:
        """Classify the sockets that are in TIME_WAIT, or those that are not."""
        for keyspace in [
            keyspace for keyspace in count.unclassified if time_wait == (keyspace.state == TIME_WAIT)
        ]:
            for keys, table, previous in count.unclassified.pop(keyspace):
                # Empty if all sockets are new, which saves a column of the signatures.
                has_previous = previous.count(None) < len(previous)
                previous_groups = self._groups_by_id(previous) if has_previous else []
                ids = group_ids_of(table, previous_groups, self._id_of)
                count.counts.update(ids)
                if keyspace.state in _OPENED_STATES:
                    count.opened.update(
                        group_id for group_id, known in zip(ids, previous, strict=False) if known is None
                    )
                self._cache_ids(keyspace, keys, ids, count, cacheable=cacheable)

    def _cache_ids(
        self,
        keyspace: KeySpace,
        keys: Sequence[SocketKey],
        ids: Sequence[int],
        count: CountInProgress,
        *,
        cacheable: bool,
    ) -> None:
        if not cacheable:
            count.rebuilt.clear()
        # The old cache is updated even if it is being rebuilt: it stays if the collection fails.
        cache = self._cache if cacheable else count.uncached
        cache.for_keyspace(keyspace).update(zip(keys, ids, strict=True))
        if keyspace in count.rebuilt:
            count.rebuilt[keyspace].update(zip(keys, ids, strict=True))

    def _finish(self, count: CountInProgress) -> Counter[SocketGroup]:
        """Return the counts by group. Drop closed sockets and empty groups, if there are too many."""
        counts = Counter({self._groups[group_id]: number for group_id, number in count.counts.items()})
        self._knows_all = not count.uncached
        for keyspace, known in count.rebuilt.items():
            self._cache.replace(keyspace, known)
        # A collection without sockets has failed; uncached sockets still need their dropped entries.
        if count.totals and not count.uncached:
            self._cache.forget_dropped()
            self._stale_owner_keys = frozenset()
            self._has_stale_groups |= bool(count.rebuilt)
            max_groups = (1 + _MAX_EMPTY_GROUPS_RATIO) * len(counts) + _MIN_EMPTY_GROUPS
            if self._has_stale_groups and len(self._groups) > max_groups:
                self._drop_empty_groups()
                self._has_stale_groups = False
        self._stale_keyspace = self._cache.most_stale(count.totals)
        return counts

    def _cached_ids(
        self, keyspace: KeySpace, entries: Sequence[tuple[SocketKey, int, int]], count: CountInProgress
    ) -> Iterator[int | None]:
        keys = [key for key, _, _ in entries]
        uncached: Iterator[int | None] = map(count.uncached.for_keyspace(keyspace).get, keys)
        return map(self._cache.for_keyspace(keyspace).get, keys, uncached)

    def _id_of(self, group: SocketGroup) -> int:
        group_id = self._ids.setdefault(group, len(self._groups))
        if group_id == len(self._groups):
            self._groups.append(group)
        return group_id

    def _drop_empty_groups(self) -> None:
        """Drop the groups without a cached socket, and renumber the others."""
        used = sorted(self._cache.group_ids())
        if len(used) == len(self._groups):
            return
        self.id_version += 1
        self._cache.renumber({group_id: position for position, group_id in enumerate(used)})
        self._groups = [self._groups[group_id] for group_id in used]
        self._ids = {group: group_id for group_id, group in enumerate(self._groups)}


def _positions_of_none(ids: list[int | None]) -> list[int]:
    """Return the positions of None. For a few of them, list.index() is faster than a comprehension."""
    positions: list[int] = []
    with suppress(ValueError):
        position = -1
        while True:
            positions.append(position := ids.index(None, position + 1))
    return positions
