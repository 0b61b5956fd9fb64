"""Count of the sockets of one collection, while some of them are still unclassified."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Final, NamedTuple

from ..model.sockets import KeySpace, SocketKey, SocketTable
from .group_cache import GroupCache

# Maximum size of chunks that are joined with those of other batches before they are classified.
_MAX_JOINED_SOCKETS: Final = 256


class UnclassifiedChunk(NamedTuple):
    """Sockets of one batch that have no group yet."""

    keys: Sequence[SocketKey]
    table: SocketTable
    previous: list[int | None]
    """Group ids that the sockets had in another state, None for new sockets; empty in the first
    collection."""

    def new_owner_keys(self) -> Iterator[int]:
        """Return the owner keys of the new sockets; none in the first collection."""
        return (
            key
            for key, group_id in zip(self.table.owner_keys(), self.previous, strict=False)
            if group_id is None
        )


class UnclassifiedSockets:
    """Sockets of one key space that have no group yet."""

    def __init__(self) -> None:
        self._large: list[UnclassifiedChunk] = []
        self._small: list[UnclassifiedChunk] = []

    def add(self, chunk: UnclassifiedChunk) -> None:
        """Add the sockets of one batch."""
        (self._large if len(chunk.keys) > _MAX_JOINED_SOCKETS else self._small).append(chunk)

    def __iter__(self) -> Iterator[UnclassifiedChunk]:
        """Iterate over the chunks, with the small ones joined into one."""
        yield from self._large
        if self._small:
            keys, rows, previous = zip(*self._small, strict=True)
            joined = (list(chain.from_iterable(lists)) for lists in (keys, previous))
            yield UnclassifiedChunk(next(joined), rows[0].concat(rows[1:]), next(joined))

    def __len__(self) -> int:
        return sum(len(chunk.keys) for chunk in self.chunks())

    def chunks(self) -> Iterator[UnclassifiedChunk]:
        """Iterate over the chunks as they were added."""
        return chain(self._large, self._small)


class OwnerKeys:
    """Owner keys of all sockets of one collection. The set of them is made on demand."""

    def __init__(self) -> None:
        self._columns: list[bytes] = []
        self._set: set[int] = set()

    def add(self, column: bytes) -> None:
        """Add the owner key column of a batch: unsigned 32 bits each, in native order."""
        self._columns.append(column)

    def update(self, keys: Iterable[int]) -> None:
        """Add single owner keys."""
        self._set.update(keys)

    def extend(self, other: OwnerKeys) -> None:
        """Add all owner keys of another part of the collection."""
        self._columns += other._columns
        self._set |= other._set

    def all(self) -> set[int]:
        """Return the set of all owner keys. The caller must not change it."""
        while self._columns:
            self._set.update(memoryview(self._columns.pop()).cast("I").tolist())
        return self._set


@dataclass(slots=True)
class CountInProgress:
    """Count of the sockets of one collection that SocketCounter.complete() has not finished yet."""

    counts: Counter[int] = field(default_factory=Counter)
    """Number of classified sockets by group id."""
    unclassified: defaultdict[KeySpace, UnclassifiedSockets] = field(
        default_factory=lambda: defaultdict(UnclassifiedSockets)
    )
    owner_keys: OwnerKeys = field(default_factory=OwnerKeys)
    nonempty_queues: list[tuple[KeySpace, Sequence[tuple[SocketKey, int, int]]]] = field(default_factory=list)
    """Key space, and SocketBatch.nonempty_queues of one of its batches."""
    totals: Counter[KeySpace] = field(default_factory=Counter)
    """Number of sockets by key space."""
    rebuilt: dict[KeySpace, dict[SocketKey, int]] = field(default_factory=dict)
    """Group ids of this collection's sockets, for the key spaces whose cache drops closed ones."""
    uncached: GroupCache = field(default_factory=GroupCache)
    """Group ids that are not cached: the next collection must classify these sockets again."""
    opened: set[int] = field(default_factory=set)
    """Group ids of connections that did not exist in the previous collection; none in the first one."""
    is_first: bool = False
    """Whether this is the first collection: no socket is cached."""

    def add(self, addition: CountInProgress) -> None:
        """Add further sockets of the same collection."""
        self.counts.update(addition.counts)
        for keyspace, sockets in addition.unclassified.items():
            for chunk in sockets.chunks():
                self.unclassified[keyspace].add(chunk)
        self.owner_keys.extend(addition.owner_keys)
        self.nonempty_queues += addition.nonempty_queues
        self.totals.update(addition.totals)
        for keyspace, known in self.rebuilt.items():
            self.rebuilt[keyspace] = (
                {**known, **addition.rebuilt[keyspace]} if known else addition.rebuilt[keyspace]
            )

    def unclassified_owner_keys(self) -> set[int]:
        """Return the owner keys of the unclassified sockets."""
        return set(chain.from_iterable(chunk.table.owner_keys() for chunk in self._chunks()))

    def new_owner_keys(self) -> Iterator[int]:
        """Return the owner keys of the new sockets; none in the first collection."""
        return chain.from_iterable(chunk.new_owner_keys() for chunk in self._chunks())

    def unclassified_tables(self) -> Iterator[SocketTable]:
        """Return the tables of the unclassified sockets, the small ones joined: hundreds would take 3 ms."""
        return (chunk.table for chunk in chain.from_iterable(self.unclassified.values()))

    def _chunks(self) -> Iterator[UnclassifiedChunk]:
        return chain.from_iterable(sockets.chunks() for sockets in self.unclassified.values())
