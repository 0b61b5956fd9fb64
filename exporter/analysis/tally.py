"""Counts sockets by what they have in common, touching in Python only those not seen before.

For every socket it remembers the group it was counted in. A warm scrape is then one pass in C over
the keys; a socket that is new or has changed has a new key, and only for those the group is made.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import suppress
from itertools import compress
from operator import ne
from typing import Final, cast

from ..model import TIME_WAIT, Batch, Group, Key, Owner, Rows
from .ephemeral import PortsTaken
from .reading import Memory, Reading, Unseen

Classify = Callable[[Rows, Sequence[Group | None], Callable[[Group], int]], list[int]]
"""(sockets, the groups they were counted in when last seen or nothing, what numbers a group) -> the numbers
of the groups to count them in."""

_NO_COOKIE: Final = 0

# Remembered sockets that are gone are dropped when they are this many more than those that are there.
_SLACK: Final = 0.5
_SLACK_AT_LEAST: Final = 4_096


class Tally:
    """What is remembered of each socket, from one reading to the next."""

    def __init__(self) -> None:
        self._groups: list[Group] = []
        self._numbers: dict[Group, int] = {}
        self._known = Memory()
        # By cookie, for the sockets whose Key is not the cookie itself: in which group they were last.
        self._last: dict[Key, int] = {}
        self._tidy = False
        self.numbering = 0
        """Another number whenever groups have got other numbers."""

    def read(self, batches: Iterable[Batch], taken: PortsTaken | None = None) -> Reading:
        """Counts the sockets known already. Raises what the batches raise, and changes nothing.

        taken: is given the local ends of all sockets, which is dear.
        """
        reading = Reading(first=not (self._known or self._last), fresh=Memory() if self._tidy else None)
        for batch in batches:
            self._read(batch, reading)
            if taken is not None:
                taken.add(batch.local_ends(taken.ephemeral.low, taken.ephemeral.high))
        return reading

    def by_state(self, reading: Reading) -> Counter[int]:
        """How many sockets are in each state, before settle() has said whose they are."""
        counts: Counter[int] = Counter()
        for number, count in reading.counts.items():
            counts[self._groups[number].state] += count
        for unseen in (reading.unseen, reading.unseen_in_time_wait):
            for _, rows in unseen:
                counts.update(rows.states())
        return counts

    def newcomers(self, reading: Reading) -> set[int]:
        """The holders of the sockets that were never counted, in whatever state. Where nothing was ever
        counted, nobody."""
        if reading.first:
            return set()
        return {
            holder
            for _, rows in reading.unseen
            for holder, before in zip(rows.holders(), self.before(rows.cookies()), strict=True)
            if before is None
        }

    def settle(self, reading: Reading, classify: Classify, *, time_wait: bool, remember: bool = True) -> None:
        """Classifies what is unseen in other states than TIME_WAIT; when called again, what is in TIME_WAIT.

        remember: False when classify knew less than it should, so that it is asked again next time.
        """
        if time_wait:
            for keys, rows in reading.unseen_in_time_wait:
                self._classify(keys, rows, reading, classify, time_wait=True, remember=remember)
            for keys, rows in reading.late:
                self._classify(keys, rows, reading, classify, time_wait=False, remember=remember)
        else:
            for keys, rows in reading.unseen:
                others = _all_but_late(keys, rows, reading.late)
                self._classify(*others, reading, classify, time_wait=False, remember=remember)

    def groups(self, reading: Reading) -> list[Group]:
        """The groups that the sockets counted so far are in."""
        return [self._groups[number] for number in reading.counts]

    def queues(self, reading: Reading) -> dict[Group, tuple[int, int]]:
        """Unread and unacknowledged bytes by group, of the sockets counted so far."""
        sums: dict[Group, tuple[int, int]] = {}
        for key, unread, unacknowledged in reading.queued:
            number = self._known.alive.get(key)
            group = reading.passing.get(key) if number is None else self._groups[number]
            if group is not None:
                before = sums.get(group, (0, 0))
                sums[group] = before[0] + unread, before[1] + unacknowledged
        return sums

    def finish(self, reading: Reading) -> Counter[Group]:
        """The counts of the whole reading by group. Drops what is remembered of sockets that are gone."""
        counts = Counter({self._groups[number]: count for number, count in reading.counts.items()})
        if reading.fresh is not None:
            self._keep_only(reading.fresh)
        self._tidy = len(self._known) > (1 + _SLACK) * reading.counts.total() + _SLACK_AT_LEAST
        return counts

    def forget(self, owners: Collection[Owner]) -> None:
        """Sockets counted for these owners are unseen in the next reading."""
        stale = {number for number, group in enumerate(self._groups) if group.owner in owners}
        if not stale:
            return
        alive = self._known.alive
        self._last |= {key: number for key, number in alive.items() if number in stale}
        self._known.alive = {key: number for key, number in alive.items() if number not in stale}

    def forget_time_wait(self, doubtful: Callable[[Group], bool]) -> None:
        """Sockets in TIME_WAIT in such groups are unseen in the next reading."""
        stale = {number for number, group in enumerate(self._groups) if doubtful(group)}
        if stale:
            known = self._known
            known.alive, known.time_wait = (
                {key: number for key, number in memory.items() if number not in stale}
                for memory in (known.alive, known.time_wait)
            )

    def before(self, cookies: Sequence[int]) -> list[Group | None]:
        """How sockets were counted when they were last seen, also in another state.

        Sources without cookies give 0, under which nothing is ever remembered.
        """
        numbers = map(self._last.get, cookies, map(self._known.alive.get, cookies))
        return [None if number is None else self._groups[number] for number in numbers]

    def owners(self) -> set[Owner]:
        """Everybody for whom a remembered socket was ever counted."""
        return {group.owner for group in self._groups}

    def _read(self, batch: Batch, reading: Reading) -> None:
        known = self._known.of(time_wait=batch.time_wait)
        numbers = list(map(known.get, batch.keys))
        if reading.fresh is not None:
            fresh = reading.fresh.of(time_wait=batch.time_wait)
            fresh.update(zip(batch.keys, numbers, strict=True))  # type: ignore[arg-type]  # till settled
        reading.counts.update(numbers)  # type: ignore[arg-type]  # None is taken out at once
        unknown = reading.counts.pop(cast(int, None), 0)
        if unknown:
            places = range(len(numbers)) if unknown == len(numbers) else _places_of_none(numbers)
            unseen = reading.unseen_in_time_wait if batch.time_wait else reading.unseen
            unseen.add([batch.keys[place] for place in places], batch.take(places))
        reading.holders.append(batch.holders)
        if batch.queued:
            reading.queued += [(batch.keys[place], unread, unsent) for place, unread, unsent in batch.queued]

    def _classify(
        self,
        keys: Sequence[Key],
        rows: Rows,
        reading: Reading,
        classify: Classify,
        *,
        time_wait: bool,
        remember: bool,
    ) -> None:
        cookies = rows.cookies()
        before = [] if reading.first else self.before(cookies)
        if not any(before):
            before = []
        numbers = classify(rows, before, self._number_of)
        reading.counts.update(numbers)
        if not remember:
            reading.fresh = None
            reading.passing.update(zip(keys, map(self._groups.__getitem__, numbers), strict=True))
            return
        for memory in (self._known, reading.fresh):
            if memory is not None:
                memory.of(time_wait=time_wait).update(zip(keys, numbers, strict=True))
        if keys != cookies:
            self._last.update(compress(zip(cookies, numbers, strict=True), map(ne, keys, cookies)))
            self._last.pop(_NO_COOKIE, None)

    def _number_of(self, group: Group) -> int:
        number = self._numbers.setdefault(group, len(self._groups))
        if number == len(self._groups):
            self._groups.append(group)
        return number

    def _keep_only(self, fresh: Memory) -> None:
        """Forgets the sockets that are gone, and the groups that nobody is in any more."""
        self._known = fresh
        half_closed = {key[1] for key in (*fresh.alive, *fresh.time_wait) if isinstance(key, tuple)}
        present = (fresh.alive, fresh.time_wait, half_closed)
        self._last = {
            cookie: number for cookie, number in self._last.items() if any(cookie in some for some in present)
        }
        memories = (fresh.alive, fresh.time_wait, self._last)
        used = sorted(set().union(*(memory.values() for memory in memories)))
        if len(used) == len(self._groups):
            return
        self.numbering += 1
        renumbered = {number: position for position, number in enumerate(used)}
        self._groups = [self._groups[number] for number in used]
        self._numbers = {group: number for number, group in enumerate(self._groups)}
        for memory in memories:
            memory.update(zip(memory, map(renumbered.__getitem__, memory.values()), strict=True))


def _places_of_none(numbers: list[int | None]) -> list[int]:
    """list.index() finds the few among many faster than a loop."""
    places: list[int] = []
    with suppress(ValueError):
        place = -1
        while True:
            places.append(place := numbers.index(None, place + 1))
    return places


def _all_but_late(keys: list[Key], rows: Rows, late: Unseen) -> tuple[Sequence[Key], Rows]:
    """The others, when those in TIME_WAIT are put with the late."""
    states = rows.states()
    if TIME_WAIT not in states:
        return keys, rows
    waiting = [place for place, state in enumerate(states) if state == TIME_WAIT]
    others = [place for place, state in enumerate(states) if state != TIME_WAIT]
    late.add([keys[place] for place in waiting], rows.pick(waiting))
    return [keys[place] for place in others], rows.pick(others)
