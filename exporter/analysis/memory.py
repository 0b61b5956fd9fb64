"""In which group each socket was counted, for the next reading."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import chain, compress
from typing import Final

from ..model import (
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
    Key,
    Kind,
    entries_at_most,
)

# A connection never goes back in this order (RFC 9293, figure 5).
_COURSE: Final = (
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


def _by_course(kind: Kind) -> tuple[int, bool]:
    return _COURSE.index(kind.state), kind.held


class Memory:
    """The number of each socket's group, by key and apart for each kind of sockets."""

    def __init__(self) -> None:
        self._by_kind: dict[Kind, dict[Key, int]] = {}
        # What was taken out, to be asked for again.
        self._past: dict[Key, int] = {}

    def of(self, kind: Kind) -> dict[Key, int]:
        """What is remembered of this kind, to be changed at will."""
        if kind not in self._by_kind:
            self._by_kind[kind] = {}
            self._by_kind = {each: self._by_kind[each] for each in sorted(self._by_kind, key=_by_course)}
        return self._by_kind[kind]

    def __len__(self) -> int:
        return sum(map(len, self._all()))

    def last(self, keys: Sequence[Key]) -> list[int | None]:
        """The numbers that these keys had when they were last seen, of whatever kind, or when taken out."""
        numbers: Iterator[int | None] = map(self._past.get, keys)
        for known in self._by_kind.values():
            numbers = map(known.get, keys, numbers)
        return list(numbers)

    def forget(self, numbers: Collection[int]) -> None:
        """Takes out what has one of these numbers, but for TIME_WAIT; last() knows it until forget_past()."""
        for kind, known in self._by_kind.items():
            if kind.state != TIME_WAIT:
                stale = list(map(numbers.__contains__, known.values()))
                self._past.update(compress(known.items(), stale))
                if any(stale):
                    self._by_kind[kind] = _without(numbers, known)

    def forget_time_wait(self, numbers: Collection[int]) -> None:
        """Takes out what has one of these numbers and is in TIME_WAIT, for good."""
        for kind, known in self._by_kind.items():
            if kind.state == TIME_WAIT and not set(known.values()).isdisjoint(numbers):
                self._by_kind[kind] = _without(numbers, known)

    def replace(self, kind: Kind, known: dict[Key, int]) -> None:
        """From now on this is what is remembered of a kind."""
        self._by_kind[kind] = known

    def forget_past(self) -> None:
        """Nothing is known any longer of what was taken out and is not remembered again."""
        self._past.clear()

    def most_crowded(self, there: Mapping[Kind, int]) -> Kind | None:
        """The kind of which too many are remembered that are gone, if any; of several the worst.

        there: how many sockets there are of each kind.
        """
        excess = {kind: len(known) - entries_at_most(there[kind]) for kind, known in self._by_kind.items()}
        kind = max(excess, key=excess.__getitem__, default=None)
        return kind if kind and excess[kind] > 0 else None

    def numbers(self) -> set[int]:
        """All numbers in use."""
        return set(chain.from_iterable(known.values() for known in self._all()))

    def renumber(self, new: Mapping[int, int]) -> None:
        """Puts new numbers in the place of the old ones."""
        for known in self._all():
            known.update(zip(known, map(new.__getitem__, known.values()), strict=True))

    def _all(self) -> Iterator[dict[Key, int]]:
        yield self._past
        yield from self._by_kind.values()


def _without(numbers: Collection[int], known: Mapping[Key, int]) -> dict[Key, int]:
    return {key: number for key, number in known.items() if number not in numbers}
