"""Counts sockets by what they have in common, touching in Python only those not seen before.

For every socket it remembers the group it was counted in. A warm scrape is then one pass in C over
the keys; a socket that is new or has changed has a new key, and only for those the group is made.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from typing import Final, cast

from ..model import TIME_WAIT, Batch, Group, Key, Kind, Owner, Rows
from .ephemeral import PortsTaken
from .memory import Memory
from .reading import Piece, Reading

Classify = Callable[[Rows, Sequence[Group | None], Callable[[Group], int]], list[int]]
"""(sockets, the groups they were counted in when last seen or nothing, what numbers a group) -> the numbers
of the groups to count them in."""

# So many more groups may be kept than there are sockets in.
_SPARE: Final = 0.25
_SPARE_AT_LEAST: Final = 64


class Tally:
    """What is remembered of each socket, from one reading to the next."""

    def __init__(self) -> None:
        self._groups: list[Group] = []
        self._numbers: dict[Group, int] = {}
        self._known = Memory()
        # To be tidied up in the next reading. One at a time, as its old table is there until the end.
        self._crowded: Kind | None = None
        # Whether there may be groups that nobody is in any more.
        self._emptied = False
        self.numbering = 0
        """Another number whenever groups have got other numbers."""

    def read(self, batches: Iterable[Batch], taken: PortsTaken | None = None) -> Reading:
        """Counts the sockets known already. Raises what the batches raise, and changes nothing but `taken`.

        taken: is given the local ends of all sockets, which is dear.
        """
        reading = Reading(first=not self._known, fresh={self._crowded: {}} if self._crowded else {})
        return self._read_all(reading, batches, taken)

    def read_more(self, of: Reading, batches: Iterable[Batch], taken: PortsTaken | None = None) -> Reading:
        """Counts further sockets of a reading that is not finished yet; to be added to it. As read() does."""
        more = Reading(first=of.first, fresh={kind: {} for kind in of.fresh})
        return self._read_all(more, batches, taken)

    def by_state(self, reading: Reading) -> Counter[int]:
        """How many sockets are in each state, before settle() has said whose they are."""
        counts: Counter[int] = Counter()
        for number, count in reading.counts.items():
            counts[self._groups[number].state] += count
        for kind, unseen in reading.unseen.items():
            counts[kind.state] += len(unseen)
        return counts

    def settle(self, reading: Reading, classify: Classify, *, time_wait: bool, remember: bool = True) -> None:
        """Classifies what is unseen as yet, either in TIME_WAIT or in the other states.

        remember: False when classify knew less than it should, so that it is asked again next time.
        """
        for kind in [kind for kind in reading.unseen if time_wait == (kind.state == TIME_WAIT)]:
            for keys, rows, past in reading.unseen.pop(kind):
                numbers = classify(rows, self._groups_of(past), self._number_of)
                reading.counts.update(numbers)
                self._note(kind, keys, numbers, reading, remember=remember)

    def groups(self, reading: Reading) -> list[Group]:
        """The groups that the sockets counted so far are in."""
        return [self._groups[number] for number in reading.counts]

    def queues(self, reading: Reading) -> dict[Group, tuple[int, int]]:
        """Unread and unacknowledged bytes by group, of the sockets counted so far."""
        unread: defaultdict[int | None, int] = defaultdict(int)
        unacknowledged: defaultdict[int | None, int] = defaultdict(int)
        for kind, queued in reading.queued:
            for number, (_, some, others) in zip(
                self._numbers_of(kind, queued, reading), queued, strict=True
            ):
                unread[number] += some
                unacknowledged[number] += others
        # None has those of sockets that were not settled.
        return {
            self._groups[number]: (unread[number], unacknowledged[number])
            for number in unread
            if number is not None
        }

    def finish(self, reading: Reading) -> Counter[Group]:
        """The counts of the whole reading by group. Drops what is of no use any more: sockets that are gone,
        of one kind when there are too many, and groups that nobody is in."""
        counts = Counter({self._groups[number]: count for number, count in reading.counts.items()})
        for kind, known in reading.fresh.items():
            self._known.replace(kind, known)
        # An empty one has failed, and who passes is asked for again.
        if reading.there and not reading.passing:
            self._known.forget_past()
            self._emptied |= bool(reading.fresh)
            if self._emptied and len(self._groups) > (1 + _SPARE) * len(counts) + _SPARE_AT_LEAST:
                self._drop_groups()
                self._emptied = False
        self._crowded = self._known.most_crowded(reading.there)
        return counts

    def forget(self, owners: Collection[Owner]) -> None:
        """Sockets counted for these owners are unseen in the next reading."""
        if owners:
            self._emptied = True
            self._known.forget(self._numbered(lambda group: group.owner in owners))

    def forget_time_wait(self, doubtful: Callable[[Group], bool]) -> None:
        """Sockets in TIME_WAIT in such groups are unseen in the next reading."""
        self._emptied = True
        self._known.forget_time_wait(self._numbered(doubtful))

    def before(self, cookies: Sequence[int]) -> list[Group | None]:
        """How sockets were counted when they were last seen, also in another state.

        Sources without cookies give 0, under which nothing is ever remembered.
        """
        groups = self._groups
        return [None if number is None else groups[number] for number in self._known.last(cookies)]

    def _groups_of(self, past: Sequence[int | None]) -> list[Group | None]:
        """Nothing at all where there is no past."""
        if past.count(None) == len(past):
            return []
        groups = self._groups
        return [None if number is None else groups[number] for number in past]

    def owners(self) -> set[Owner]:
        """Everybody for whom a remembered socket was ever counted."""
        return {group.owner for group in self._groups}

    def _numbered(self, chosen: Callable[[Group], bool]) -> set[int]:
        return {number for number, group in enumerate(self._groups) if chosen(group)}

    def _read_all(self, reading: Reading, batches: Iterable[Batch], taken: PortsTaken | None) -> Reading:
        for batch in batches:
            self._read(batch, reading)
            if taken is not None:
                taken.add(batch.local_ends(taken.ephemeral.low, taken.ephemeral.high))
        return reading

    def _read(self, batch: Batch, reading: Reading) -> None:
        numbers = list(map(self._known.of(batch.kind).get, batch.keys))
        reading.there[batch.kind] += len(numbers)
        if batch.kind in reading.fresh:
            so_far = cast(list[int], numbers)  # None as well, until all is settled
            reading.fresh[batch.kind].update(zip(batch.keys, so_far, strict=True))
        reading.counts.update(numbers)  # type: ignore[arg-type]  # None is taken out at once
        unknown = reading.counts.pop(cast(int, None), 0)
        if unknown:
            places = range(len(numbers)) if unknown == len(numbers) else _places_of_none(numbers)
            rows = batch.take(places)
            past = [] if reading.first else self._known.last(rows.cookies())
            keys = batch.keys if unknown == len(numbers) else [batch.keys[place] for place in places]
            reading.unseen[batch.kind].add(Piece(keys, rows, past))
        reading.holders.add(batch.holders)
        if reading.unseen:
            # They will be wanted, and the kernel is waited for just now.
            reading.holders.all()
        if batch.queued:
            reading.queued.append((batch.kind, batch.queued))

    def _note(
        self, kind: Kind, keys: Sequence[Key], numbers: Sequence[int], reading: Reading, *, remember: bool
    ) -> None:
        if not remember:
            reading.fresh.clear()
        # Also what is to be replaced: the rest of the reading may fail, and then it stays.
        memory = self._known if remember else reading.passing
        memory.of(kind).update(zip(keys, numbers, strict=True))
        if kind in reading.fresh:
            reading.fresh[kind].update(zip(keys, numbers, strict=True))

    def _numbers_of(
        self, kind: Kind, queued: Sequence[tuple[Key, int, int]], reading: Reading
    ) -> Iterator[int | None]:
        keys = [key for key, _, _ in queued]
        passing: Iterator[int | None] = map(reading.passing.of(kind).get, keys)
        return map(self._known.of(kind).get, keys, passing)

    def _number_of(self, group: Group) -> int:
        number = self._numbers.setdefault(group, len(self._groups))
        if number == len(self._groups):
            self._groups.append(group)
        return number

    def _drop_groups(self) -> None:
        """Forgets the groups that no remembered socket is in."""
        used = sorted(self._known.numbers())
        if len(used) == len(self._groups):
            return
        self.numbering += 1
        self._known.renumber({number: position for position, number in enumerate(used)})
        self._groups = [self._groups[number] for number in used]
        self._numbers = {group: number for number, group in enumerate(self._groups)}


def _places_of_none(numbers: list[int | None]) -> list[int]:
    """list.index() finds the few among many faster than a loop."""
    places: list[int] = []
    with suppress(ValueError):
        place = -1
        while True:
            places.append(place := numbers.index(None, place + 1))
    return places
