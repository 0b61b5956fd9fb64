"""The count of one collection's sockets, while some of them are still unclassified."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Final, NamedTuple

from ..model.sockets import KeySpace, SocketKey, SocketTable
from .group_cache import GroupCache

# Chunks of at most this many sockets are joined with those of other batches before they are classified.
_MAX_JOINED_SOCKETS: Final = 256


class UnclassifiedChunk(NamedTuple):
    """Some sockets without a group, and what is known of them from the previous collection.

    previous: the group ids that the sockets had under another key (in another state), None for sockets not
    seen before; empty in the first collection.
    """

    keys: Sequence[SocketKey]
    rows: SocketTable
    previous: list[int | None]

    def new_owner_keys(self) -> Iterator[int]:
        """Return the owner keys of the sockets that were not seen before; none in the first collection."""
        return (
            key
            for key, group_id in zip(self.rows.owner_keys(), self.previous, strict=False)
            if group_id is None
        )


class UnclassifiedSockets:
    """The sockets of one key space that have no group yet."""

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
    """The owner keys of all sockets of one collection, made into a set on demand."""

    def __init__(self) -> None:
        self._columns: list[bytes] = []
        self._set: set[int] = set()

    def add(self, column: bytes) -> None:
        """Add the owner key column of a batch: unsigned 32 bits each, in native order."""
        self._columns.append(column)

    def update(self, keys: Iterable[int]) -> None:
        """Add single owner keys."""
        self._set.update(keys)

    def join(self, more: OwnerKeys) -> None:
        """Add all keys of another part of the collection."""
        self._columns += more._columns
        self._set |= more._set

    def all(self) -> set[int]:
        """Return the set of all owner keys. The caller must not change it."""
        while self._columns:
            self._set.update(memoryview(self._columns.pop()).cast("I").tolist())
        return self._set


@dataclass(slots=True)
class CountInProgress:
    """A count of all sockets of one collection that SocketCounter.complete() has not finished yet."""

    counts: Counter[int] = field(default_factory=Counter)
    """Sockets by group id."""
    unclassified: defaultdict[KeySpace, UnclassifiedSockets] = field(
        default_factory=lambda: defaultdict(UnclassifiedSockets)
    )
    owner_keys: OwnerKeys = field(default_factory=OwnerKeys)
    queues: list[tuple[KeySpace, Sequence[tuple[SocketKey, int, int]]]] = field(default_factory=list)
    """(key, unread bytes, unacknowledged bytes) of the sockets where either is not zero, by key space."""
    totals: Counter[KeySpace] = field(default_factory=Counter)
    """Number of sockets by key space."""
    rebuilt: dict[KeySpace, dict[SocketKey, int]] = field(default_factory=dict)
    """Group ids of this collection's sockets alone, for the key spaces whose cache is rebuilt without the
    sockets that are gone."""
    uncached: GroupCache = field(default_factory=GroupCache)
    """Group ids of sockets that must be classified again in the next collection."""
    is_first: bool = False
    """Whether no socket was known before."""

    def add(self, more: CountInProgress) -> None:
        """Add further sockets of the same collection."""
        self.counts.update(more.counts)
        for space, sockets in more.unclassified.items():
            for chunk in sockets.chunks():
                self.unclassified[space].add(chunk)
        self.owner_keys.join(more.owner_keys)
        self.queues += more.queues
        self.totals.update(more.totals)
        for space, known in self.rebuilt.items():
            self.rebuilt[space] = {**known, **more.rebuilt[space]} if known else more.rebuilt[space]

    def unclassified_owner_keys(self) -> set[int]:
        """Return the owner keys of the sockets that are to be classified."""
        return set(chain.from_iterable(chunk.rows.owner_keys() for chunk in self._chunks()))

    def new_owner_keys(self) -> Iterator[int]:
        """Return the owner keys of the sockets that were never seen before; none in the first collection."""
        return chain.from_iterable(chunk.new_owner_keys() for chunk in self._chunks())

    def _chunks(self) -> Iterator[UnclassifiedChunk]:
        return chain.from_iterable(sockets.chunks() for sockets in self.unclassified.values())
