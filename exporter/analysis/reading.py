"""One reading of all sockets, while it is being counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain
from typing import Final

from ..model import Group, Key, Rows

# So few sockets of one batch are put together with those of others.
_FEW: Final = 128


class Unseen:
    """Sockets that have no group yet."""

    def __init__(self) -> None:
        self._pieces: list[tuple[list[Key], Rows]] = []
        self._small: list[tuple[list[Key], Rows]] = []

    def add(self, keys: list[Key], rows: Rows) -> None:
        """Takes these sockets and their keys."""
        (self._pieces if len(keys) > _FEW else self._small).append((keys, rows))

    def __iter__(self) -> Iterator[tuple[list[Key], Rows]]:
        yield from self._pieces
        if self._small:
            keys, rows = zip(*self._small, strict=True)
            yield list(chain.from_iterable(keys)), rows[0].with_others(rows[1:])

    def holders(self) -> Iterator[int]:
        return chain.from_iterable(rows.holders() for _, rows in self)


@dataclass(slots=True)
class Memory:
    """In which group each socket was counted: the group's number by key."""

    alive: dict[Key, int] = field(default_factory=dict)
    time_wait: dict[Key, int] = field(default_factory=dict)

    def of(self, *, time_wait: bool) -> dict[Key, int]:
        """That of the sockets whose batches are in TIME_WAIT, or that of the others."""
        return self.time_wait if time_wait else self.alive

    def __len__(self) -> int:
        return len(self.alive) + len(self.time_wait)


@dataclass(slots=True)
class Reading:
    """One reading of all sockets, half counted: Tally.settle() counts what is unseen."""

    counts: Counter[int] = field(default_factory=Counter)
    unseen: Unseen = field(default_factory=Unseen)
    unseen_in_time_wait: Unseen = field(default_factory=Unseen)
    holders: list[bytes] = field(default_factory=list)
    queued: list[tuple[Key, int, int]] = field(default_factory=list)
    fresh: Memory | None = None
    """What is remembered of the sockets of this reading alone, in readings that are to tidy up."""
    late: Unseen = field(default_factory=Unseen)
    """Sockets in TIME_WAIT from batches of others, which settle() left for last."""
    passing: dict[Key, Group] = field(default_factory=dict)
    """How the sockets were counted that are not to be remembered."""
    first: bool = False
    """Whether nothing was remembered before."""

    def unseen_holders(self) -> set[int]:
        """The holders of the sockets that settle() is going to ask for."""
        return {*self.unseen.holders(), *self.unseen_in_time_wait.holders()}

    def live_holders(self) -> set[int]:
        """The holders of all sockets of this reading."""
        live: set[int] = set()
        for column in self.holders:
            live.update(memoryview(column).cast("I").tolist())
        return live

    def gone_holders(self, known: Iterable[int]) -> set[int]:
        """Those of the known holders that hold no socket of this reading."""
        live = self.live_holders()
        return {holder for holder in known if holder not in live}
