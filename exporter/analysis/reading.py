"""One reading of all sockets, while it is being counted."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Final, NamedTuple

from ..model import Key, Kind, Rows
from .memory import Memory

# So few sockets of one batch are put together with those of others.
_FEW: Final = 256


class Piece(NamedTuple):
    """Some sockets, their keys, and the numbers of their groups when they were last seen in another
    situation: None for those that were not, nothing at all where there was no earlier reading."""

    keys: Sequence[Key]
    rows: Rows
    past: list[int | None]

    def new_holders(self) -> Iterator[int]:
        return (
            holder for holder, number in zip(self.rows.holders(), self.past, strict=False) if number is None
        )


class Unseen:
    """Sockets of one kind that have no group yet."""

    def __init__(self) -> None:
        self._pieces: list[Piece] = []
        self._small: list[Piece] = []

    def add(self, piece: Piece) -> None:
        """Takes these sockets."""
        (self._pieces if len(piece.keys) > _FEW else self._small).append(piece)

    def __iter__(self) -> Iterator[Piece]:
        yield from self._pieces
        if self._small:
            keys, rows, past = zip(*self._small, strict=True)
            joined = (list(chain.from_iterable(lists)) for lists in (keys, past))
            yield Piece(next(joined), rows[0].with_others(rows[1:]), next(joined))

    def __len__(self) -> int:
        return sum(len(piece.keys) for piece in self.pieces())

    def pieces(self) -> Iterator[Piece]:
        """The same, as they were taken."""
        return chain(self._pieces, self._small)


class Holders:
    """The holders of all sockets of one reading, made into a set only if anybody wants it."""

    def __init__(self) -> None:
        self._columns: list[bytes] = []
        self._set: set[int] = set()

    def add(self, column: bytes) -> None:
        """Takes a batch's."""
        self._columns.append(column)

    def update(self, others: Iterable[int]) -> None:
        """Takes those of other sockets."""
        self._set.update(others)

    def join(self, others: Holders) -> None:
        """Takes those of another part of the reading."""
        self._columns += others._columns
        self._set |= others._set

    def all(self) -> set[int]:
        """All of them. Not to be changed."""
        while self._columns:
            self._set.update(memoryview(self._columns.pop()).cast("I").tolist())
        return self._set


@dataclass(slots=True)
class Reading:
    """One reading of all sockets, half counted: Tally.settle() counts what is unseen."""

    counts: Counter[int] = field(default_factory=Counter)
    unseen: defaultdict[Kind, Unseen] = field(default_factory=lambda: defaultdict(Unseen))
    holders: Holders = field(default_factory=Holders)
    queued: list[tuple[Kind, Sequence[tuple[Key, int, int]]]] = field(default_factory=list)
    there: Counter[Kind] = field(default_factory=Counter)
    """How many sockets there are of each kind."""
    fresh: dict[Kind, dict[Key, int]] = field(default_factory=dict)
    """What is remembered of the sockets of this reading alone, of the kinds that are to be tidied up."""
    passing: Memory = field(default_factory=Memory)
    """How the sockets were counted that are not to be remembered."""
    first: bool = False
    """Whether nothing was remembered before."""

    def add(self, more: Reading) -> None:
        """Takes further sockets."""
        self.counts.update(more.counts)
        for kind, unseen in more.unseen.items():
            for piece in unseen.pieces():
                self.unseen[kind].add(piece)
        self.holders.join(more.holders)
        self.queued += more.queued
        self.there.update(more.there)
        for kind, known in self.fresh.items():
            self.fresh[kind] = {**known, **more.fresh[kind]} if known else more.fresh[kind]

    def unseen_holders(self) -> set[int]:
        """The holders of the sockets that settle() is going to ask for."""
        return set(chain.from_iterable(piece.rows.holders() for piece in self._pieces()))

    def new_holders(self) -> Iterator[int]:
        """Those of them whose sockets were never seen before; none where there was no earlier reading."""
        return chain.from_iterable(piece.new_holders() for piece in self._pieces())

    def _pieces(self) -> Iterator[Piece]:
        return chain.from_iterable(unseen.pieces() for unseen in self.unseen.values())
