"""Counts sockets by group, running Python code only for those not seen before.

For every socket it remembers the group it was counted in. A warm collection is then one pass in C over the
keys: a socket that is new or has changed has a new key, and only such sockets are classified.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from typing import Final, cast

from ..model.groups import SocketGroup
from ..model.process import Owner
from ..model.sockets import TIME_WAIT, KeySpace, SocketBatch, SocketKey, SocketTable
from .bound_ports import BoundPortCounter
from .group_cache import GroupCache
from .pending import CountInProgress, UnclassifiedChunk

GroupIdsOf = Callable[[SocketTable, Sequence[SocketGroup | None], Callable[[SocketGroup], int]], list[int]]
"""(sockets, their previous groups or nothing, group -> its id) -> the id of each socket's group."""

# Groups without sockets are dropped when there are more of them than this share of the others, and this many.
_MAX_EMPTY_GROUPS_RATIO: Final = 0.25
_MIN_EMPTY_GROUPS: Final = 64


class SocketCounter:
    """Counts the sockets of each collection by group and remembers each socket's group for the next one."""

    def __init__(self) -> None:
        self._groups: list[SocketGroup] = []
        self._ids: dict[SocketGroup, int] = {}
        self._cache = GroupCache()
        # The key space whose cache the next collection rebuilds. One at a time: the old table stays until the
        # end.
        self._stale_keyspace: KeySpace | None = None
        self._has_stale_groups = False
        self.id_version = 0
        """Changes whenever groups get other ids."""

    def begin(self, batches: Iterable[SocketBatch], ports: BoundPortCounter | None = None) -> CountInProgress:
        """Begin the count of a collection: count the sockets that are known already.

        ports: counts the local ports of all sockets, which is expensive. Raises what reading the batches
        raises; nothing but `ports` has changed then.
        """
        rebuilt: dict[KeySpace, dict[SocketKey, int]] = (
            {self._stale_keyspace: {}} if self._stale_keyspace else {}
        )
        return self._count_all(CountInProgress(is_first=not self._cache, rebuilt=rebuilt), batches, ports)

    def extend(
        self, count: CountInProgress, batches: Iterable[SocketBatch], ports: BoundPortCounter | None = None
    ) -> CountInProgress:
        """Count further sockets of the same collection. Returns what is to be added to it; otherwise as
        begin()."""
        more = CountInProgress(is_first=count.is_first, rebuilt={space: {} for space in count.rebuilt})
        return self._count_all(more, batches, ports)

    def complete(
        self,
        count: CountInProgress,
        group_ids_of: GroupIdsOf,
        deferred: Callable[[], CountInProgress | None],
        learn_destinations: Callable[[list[SocketGroup]], None],
        *,
        cacheable: bool = True,
    ) -> Counter[SocketGroup]:
        """Classify all sockets of a collection, and return their number by group.

        The order matters. What is known already is classified while the kernel writes the deferred dump;
        TIME_WAIT comes last, since its owners are inferred from who has connections to a destination.

        deferred: reads the sockets that are read last, and returns them for this count (see extend()), if
        any. learn_destinations: takes the groups of all sockets that are not in TIME_WAIT.
        cacheable: False if the classification lacks information, so that it is repeated in the next
        collection.
        """
        self._classify(count, group_ids_of, time_wait=False, cacheable=cacheable)
        if more := deferred():
            count.add(more)
            # Deferred sockets that are not in TIME_WAIT: SYN_RECV.
            self._classify(count, group_ids_of, time_wait=False, cacheable=cacheable)
        learn_destinations([self._groups[group_id] for group_id in count.counts])
        self._classify(count, group_ids_of, time_wait=True, cacheable=cacheable)
        return self._finish(count)

    def totals_by_state(self, count: CountInProgress) -> Counter[int]:
        """Return the number of sockets in each state, which is known before they are classified."""
        totals: Counter[int] = Counter()
        for group_id, number in count.counts.items():
            totals[self._groups[group_id].state] += number
        for space, sockets in count.unclassified.items():
            totals[space.state] += len(sockets)
        return totals

    def queues(self, count: CountInProgress) -> dict[SocketGroup, tuple[int, int]]:
        """Return the unread and unacknowledged bytes by group, of the classified sockets."""
        unread: defaultdict[int | None, int] = defaultdict(int)
        unacknowledged: defaultdict[int | None, int] = defaultdict(int)
        for space, entries in count.queues:
            ids = self._cached_ids(space, entries, count)
            for group_id, (_, receive_queue, send_queue) in zip(ids, entries, strict=True):
                unread[group_id] += receive_queue
                unacknowledged[group_id] += send_queue
        # The sockets that could not be classified are counted under None.
        return {
            self._groups[group_id]: (unread[group_id], unacknowledged[group_id])
            for group_id in unread
            if group_id is not None
        }

    def invalidate(self, owners: Collection[Owner]) -> None:
        """Have the sockets counted for these owners classified again in the next collection."""
        if owners:
            self._has_stale_groups = True
            self._cache.drop(self._ids_where(lambda group: group.owner in owners))

    def invalidate_time_wait(self, is_stale: Callable[[SocketGroup], bool]) -> None:
        """Have the sockets in TIME_WAIT of such groups classified again in the next collection."""
        self._has_stale_groups = True
        self._cache.drop_time_wait(self._ids_where(is_stale))

    def previous_groups(self, cookies: Sequence[int]) -> list[SocketGroup | None]:
        """Return the groups in which the sockets with these cookies were last counted, in whatever state.

        Sources without cookies give 0, under which nothing is ever remembered.
        """
        return self._groups_by_id(self._cache.previous(cookies))

    def owners(self) -> set[Owner]:
        """Return all owners for whom a remembered socket was counted."""
        return {group.owner for group in self._groups}

    def _groups_by_id(self, ids: Iterable[int | None]) -> list[SocketGroup | None]:
        groups = self._groups
        return [None if group_id is None else groups[group_id] for group_id in ids]

    def _ids_where(self, matches: Callable[[SocketGroup], bool]) -> set[int]:
        return {group_id for group_id, group in enumerate(self._groups) if matches(group)}

    def _count_all(
        self, count: CountInProgress, batches: Iterable[SocketBatch], ports: BoundPortCounter | None
    ) -> CountInProgress:
        for batch in batches:
            self._count(batch, count)
            if ports is not None:
                ports.add(batch.local_endpoints(ports.ephemeral.low, ports.ephemeral.high))
        return count

    def _count(self, batch: SocketBatch, count: CountInProgress) -> None:
        ids = list(map(self._cache.for_keyspace(batch.keyspace).get, batch.keys))
        count.totals[batch.keyspace] += len(ids)
        if batch.keyspace in count.rebuilt:
            so_far = cast(list[int], ids)  # Contains None too, until all sockets are classified.
            count.rebuilt[batch.keyspace].update(zip(batch.keys, so_far, strict=True))
        count.counts.update(ids)  # type: ignore[arg-type]  # None is taken out in the next line
        unknown = count.counts.pop(cast(int, None), 0)
        if unknown:
            positions = range(len(ids)) if unknown == len(ids) else _positions_of_none(ids)
            rows = batch.rows_at(positions)
            previous = [] if count.is_first else self._cache.previous(rows.cookies())
            keys = batch.keys if unknown == len(ids) else [batch.keys[position] for position in positions]
            count.unclassified[batch.keyspace].add(UnclassifiedChunk(keys, rows, previous))
        count.owner_keys.add(batch.owner_keys)
        if count.unclassified:
            # The set will be needed, and there is time now: the kernel is still writing the next part of the
            # dump.
            count.owner_keys.all()
        if batch.nonempty_queues:
            count.queues.append((batch.keyspace, batch.nonempty_queues))

    def _classify(
        self, count: CountInProgress, group_ids_of: GroupIdsOf, *, time_wait: bool, cacheable: bool
    ) -> None:
        """Classify the sockets that are in TIME_WAIT, or those that are not."""
        for space in [space for space in count.unclassified if time_wait == (space.state == TIME_WAIT)]:
            for keys, rows, previous in count.unclassified.pop(space):
                # Nothing at all where no socket was seen before, which saves the columns.
                was_seen = previous.count(None) < len(previous)
                previous_groups = self._groups_by_id(previous) if was_seen else []
                ids = group_ids_of(rows, previous_groups, self._id_of)
                count.counts.update(ids)
                self._cache_ids(space, keys, ids, count, cacheable=cacheable)

    def _cache_ids(
        self,
        space: KeySpace,
        keys: Sequence[SocketKey],
        ids: Sequence[int],
        count: CountInProgress,
        *,
        cacheable: bool,
    ) -> None:
        if not cacheable:
            count.rebuilt.clear()
        # A cache that is to be replaced is updated too: it stays if the rest of the collection fails.
        cache = self._cache if cacheable else count.uncached
        cache.for_keyspace(space).update(zip(keys, ids, strict=True))
        if space in count.rebuilt:
            count.rebuilt[space].update(zip(keys, ids, strict=True))

    def _finish(self, count: CountInProgress) -> Counter[SocketGroup]:
        """Return the counts by group. Drops sockets that are gone and groups without sockets, if too many."""
        counts = Counter({self._groups[group_id]: number for group_id, number in count.counts.items()})
        for space, known in count.rebuilt.items():
            self._cache.replace(space, known)
        # Without a socket the collection has failed, and uncached sockets are classified again.
        if count.totals and not count.uncached:
            self._cache.forget_dropped()
            self._has_stale_groups |= bool(count.rebuilt)
            max_groups = (1 + _MAX_EMPTY_GROUPS_RATIO) * len(counts) + _MIN_EMPTY_GROUPS
            if self._has_stale_groups and len(self._groups) > max_groups:
                self._drop_empty_groups()
                self._has_stale_groups = False
        self._stale_keyspace = self._cache.most_stale(count.totals)
        return counts

    def _cached_ids(
        self, space: KeySpace, entries: Sequence[tuple[SocketKey, int, int]], count: CountInProgress
    ) -> Iterator[int | None]:
        keys = [key for key, _, _ in entries]
        uncached: Iterator[int | None] = map(count.uncached.for_keyspace(space).get, keys)
        return map(self._cache.for_keyspace(space).get, keys, uncached)

    def _id_of(self, group: SocketGroup) -> int:
        group_id = self._ids.setdefault(group, len(self._groups))
        if group_id == len(self._groups):
            self._groups.append(group)
        return group_id

    def _drop_empty_groups(self) -> None:
        """Drop the groups that no remembered socket is in."""
        used = sorted(self._cache.group_ids())
        if len(used) == len(self._groups):
            return
        self.id_version += 1
        self._cache.renumber({group_id: position for position, group_id in enumerate(used)})
        self._groups = [self._groups[group_id] for group_id in used]
        self._ids = {group: group_id for group_id, group in enumerate(self._groups)}


def _positions_of_none(ids: list[int | None]) -> list[int]:
    """Return the positions of None. list.index() finds few among many faster than a loop in Python."""
    positions: list[int] = []
    with suppress(ValueError):
        position = -1
        while True:
            positions.append(position := ids.index(None, position + 1))
    return positions
