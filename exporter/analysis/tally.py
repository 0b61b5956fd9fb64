"""Counts sockets by what they have in common, touching in Python only those not seen before.

For every socket it remembers the group it was counted in. A warm scrape is then one pass in C over
the keys; a socket that is new or has changed has a new key, and only for those the group is made.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Final

from ..model import TIME_WAIT, Batch, Group, Key, Owner, Rows, Socket

Classify = Callable[[Socket, Group | None], Group]
"""(socket, the group it was counted in when last seen) -> the group to count it in."""

# Remembered sockets that are gone are dropped when they are this many more than those that are there.
_SLACK: Final = 0.25
_SLACK_AT_LEAST: Final = 4_096


@dataclass(slots=True)
class _Unseen:
    """The sockets of one batch that have no group yet."""

    time_wait: bool
    keys: list[Key]
    sockets: Rows


@dataclass(slots=True)
class Reading:
    """One reading of all sockets, half counted: Tally.settle() counts what is unseen."""

    counts: Counter[int] = field(default_factory=Counter)
    unseen: list[_Unseen] = field(default_factory=list)
    holders: list[bytes] = field(default_factory=list)
    queued: list[tuple[Key, int, int]] = field(default_factory=list)
    keys: list[Sequence[Key]] = field(default_factory=list)
    """All keys, in the readings after which the memory is tidied; else nothing."""
    rows: list[Rows] | None = None
    """All sockets, where a census was asked for."""
    late: list[tuple[Key, Socket]] = field(default_factory=list)
    """Sockets in TIME_WAIT from batches of others, which settle() left for last."""
    passing: dict[Key, Group] = field(default_factory=dict)
    """How the sockets were counted that are not to be remembered."""

    def unseen_holders(self) -> set[int]:
        """The holders of the sockets that settle() is going to ask for."""
        return {holder for some in self.unseen for holder in some.sockets.holders()}

    def live_holders(self) -> set[int]:
        """The holders of all sockets of this reading."""
        live: set[int] = set()
        for column in self.holders:
            live.update(memoryview(column).cast("I"))
        return live


class Tally:
    """What is remembered of each socket, from one reading to the next."""

    def __init__(self) -> None:
        self._groups: list[Group] = []
        self._numbers: dict[Group, int] = {}
        self._alive: dict[Key, int] = {}
        self._time_wait: dict[Key, int] = {}
        # By cookie, for the sockets whose Key is not the cookie itself: in which group they were last.
        self._last: dict[Key, int] = {}
        self._tidy = False

    def read(self, batches: Iterable[Batch], *, census: bool = False) -> Reading:
        """Counts the sockets known already. Raises what the batches raise, and changes nothing.

        census: whether the reading shall give all sockets, which is dear.
        """
        reading = Reading(rows=[] if census else None)
        for batch in batches:
            self._read(batch, reading)
            if reading.rows is not None:
                reading.rows.append(batch.take(range(len(batch.keys))))
        return reading

    def settle(self, reading: Reading, classify: Classify, *, time_wait: bool, remember: bool = True) -> None:
        """Classifies what is unseen in other states than TIME_WAIT; when called again, what is in TIME_WAIT.

        remember: False when classify knew less than it should, so that it is asked again next time.
        """
        for unseen in reading.unseen:
            if unseen.time_wait == time_wait:
                known = self._time_wait if time_wait else self._alive
                sockets: Iterable[tuple[Key, Socket]] = zip(unseen.keys, unseen.sockets, strict=True)
                if not time_wait:
                    sockets = _all_but_late(sockets, reading.late)
                self._classify(sockets, known if remember else None, reading, classify)
        if time_wait:
            self._classify(reading.late, self._alive if remember else None, reading, classify)

    def groups(self, reading: Reading) -> list[Group]:
        """The groups that the sockets counted so far are in."""
        return [self._groups[number] for number in reading.counts]

    def queues(self, reading: Reading) -> dict[Group, tuple[int, int]]:
        """Unread and unacknowledged bytes by group, of the sockets counted so far."""
        sums: dict[Group, tuple[int, int]] = {}
        for key, unread, unacknowledged in reading.queued:
            number = self._alive.get(key)
            group = reading.passing.get(key) if number is None else self._groups[number]
            if group is not None:
                before = sums.get(group, (0, 0))
                sums[group] = before[0] + unread, before[1] + unacknowledged
        return sums

    def finish(self, reading: Reading) -> Counter[Group]:
        """The counts of the whole reading by group. Drops what is remembered of sockets that are gone."""
        counts = Counter({self._groups[number]: count for number, count in reading.counts.items()})
        if reading.keys:
            self._drop_all_but(set(chain.from_iterable(reading.keys)))
        remembered = len(self._alive) + len(self._time_wait)
        self._tidy = remembered > (1 + _SLACK) * reading.counts.total() + _SLACK_AT_LEAST
        return counts

    def forget(self, owners: Collection[Owner]) -> None:
        """Sockets counted for these owners are unseen in the next reading."""
        stale = {number for number, group in enumerate(self._groups) if group.owner in owners}
        if not stale:
            return
        self._last |= {key: number for key, number in self._alive.items() if number in stale}
        self._alive = {key: number for key, number in self._alive.items() if number not in stale}

    def forget_time_wait(self, doubtful: Callable[[Group], bool]) -> None:
        """Sockets in TIME_WAIT in such groups are unseen in the next reading."""
        stale = {number for number, group in enumerate(self._groups) if doubtful(group)}
        if stale:
            self._alive, self._time_wait = (
                {key: number for key, number in memory.items() if number not in stale}
                for memory in (self._alive, self._time_wait)
            )

    def before(self, socket: Socket) -> Group | None:
        """How a socket was counted when it was last seen, also in another state.

        Sources without cookies give 0, under which nothing is ever remembered.
        """
        if not socket.cookie:
            return None
        number = self._last.get(socket.cookie, self._alive.get(socket.cookie))
        return None if number is None else self._groups[number]

    def owners(self) -> set[Owner]:
        """Everybody for whom a remembered socket was ever counted."""
        return {group.owner for group in self._groups}

    def _read(self, batch: Batch, reading: Reading) -> None:
        known = self._time_wait if batch.time_wait else self._alive
        numbers = list(map(known.get, batch.keys))
        reading.counts.update(numbers)  # type: ignore[arg-type]  # None is taken out at once
        if None in numbers:
            del reading.counts[None]
            positions = [position for position, number in enumerate(numbers) if number is None]
            keys = [batch.keys[position] for position in positions]
            reading.unseen.append(_Unseen(batch.time_wait, keys, batch.take(positions)))
        reading.holders.append(batch.holders)
        if batch.queued:
            reading.queued += [(batch.keys[place], unread, unsent) for place, unread, unsent in batch.queued]
        if self._tidy:
            reading.keys.append(batch.keys)

    def _classify(
        self,
        sockets: Iterable[tuple[Key, Socket]],
        known: dict[Key, int] | None,
        reading: Reading,
        classify: Classify,
    ) -> None:
        for key, socket in sockets:
            group = classify(socket, self.before(socket))
            number = self._number_of(group)
            reading.counts[number] += 1
            if known is None:
                reading.passing[key] = group
                continue
            known[key] = number
            if key != socket.cookie:
                self._last[socket.cookie] = number

    def _number_of(self, group: Group) -> int:
        number = self._numbers.setdefault(group, len(self._groups))
        if number == len(self._groups):
            self._groups.append(group)
        return number

    def _drop_all_but(self, keys: set[Key]) -> None:
        """Forgets the sockets that are gone, and the groups that nobody is in any more."""
        present = keys | {key[1] for key in keys if isinstance(key, tuple)}
        memories = (self._alive, self._time_wait, self._last)
        kept = [{key: number for key, number in memory.items() if key in present} for memory in memories]
        used = sorted({number for memory in kept for number in memory.values()})
        renumbered = {number: position for position, number in enumerate(used)}
        self._groups = [self._groups[number] for number in used]
        self._numbers = {group: number for number, group in enumerate(self._groups)}
        self._alive, self._time_wait, self._last = (
            {key: renumbered[number] for key, number in memory.items()} for memory in kept
        )


def _all_but_late(
    sockets: Iterable[tuple[Key, Socket]], late: list[tuple[Key, Socket]]
) -> Iterator[tuple[Key, Socket]]:
    for key, socket in sockets:
        if socket.state == TIME_WAIT:
            late.append((key, socket))
        else:
            yield key, socket
