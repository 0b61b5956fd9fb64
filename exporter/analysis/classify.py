"""How a socket is counted: which side opened it, whose it is, and how we know. Pure."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from itertools import repeat
from typing import Final, cast

from ..model import (
    NO_HOLDER,
    STATE_NAMES,
    TIME_WAIT,
    Attribution,
    Direction,
    EphemeralRange,
    Group,
    Owner,
    Path,
    ProcessId,
    Rows,
    Socket,
    Unowned,
)
from .listening import Listeners
from .time_wait import Talkers

_PORTS: Final = 1 << 16
# What a local port tells: that somebody listens on it, or else whether it is ephemeral.
_LISTENED_ON: Final = 0
_FIXED: Final = 1
_EPHEMERAL: Final = 2
_BY_CHOICE: Final = bytes([_FIXED, _EPHEMERAL]) + bytes(254)

# So many kinds of sockets are remembered from look to look.
_MOST: Final = 4_096
# What is said of a TIME_WAIT in these ways depends on who talks to whom at the moment.
_MOMENTARY: Final = (Attribution.INFERRED, Attribution.NONE)


class Classifier:
    """Puts sockets into groups, from what is known while nothing but owners and talkers changes."""

    def __init__(
        self,
        listeners: Listeners,
        talkers: Talkers,
        owner_of: Callable[[int], Owner],
        ephemeral: EphemeralRange | None,
    ) -> None:
        """owner_of: holder -> owner. ephemeral: the range that local ports are taken from."""
        self._listeners = listeners
        self._talkers = talkers
        self._owner_of = owner_of
        self._ephemeral = ephemeral
        self._sides = _sides(ephemeral, listeners.ports)
        self._met: dict[Hashable, int] = {}
        self._met_for_now: list[Hashable] = []
        # Whoever is in a likeness by identity must not go, lest another gets the same.
        self._kept: list[tuple[Owner, Group | None]] = []

    def begin(self, owner_of: Callable[[int], Owner]) -> None:
        """Begins another look, with what is known of owners by now."""
        self._owner_of = owner_of
        for likeness in self._met_for_now:
            del self._met[likeness]
        self._met_for_now.clear()
        if len(self._met) > _MOST:
            self._met.clear()
            self._kept.clear()

    def __call__(self, socket: Socket, before: Group | None) -> Group:
        """`before` is how the socket was counted in an earlier state, if it was seen.

        Once inbound, always inbound: a service that stops listening does not turn its connections round.
        Raises ValueError for a state that no TCP has: such a reading is garbage.
        """
        if socket.state not in STATE_NAMES:
            raise ValueError(f"no TCP state has the number {socket.state}")
        accepting = self._listeners.owner(socket.local_address, socket.local_port)
        path: Path | None = None
        attribution: Attribution | None = None
        if not socket.remote_port and not any(socket.remote_address):
            direction, port = Direction.NONE, socket.local_port
        elif before.direction is Direction.INBOUND if before else accepting is not None:
            direction, port = Direction.INBOUND, socket.local_port
        else:
            direction, port = Direction.OUTBOUND, socket.remote_port
            ephemeral = self._ephemeral is not None and self._ephemeral.contains(socket.local_port)
            path = Path(socket.local_address, socket.remote_address, ephemeral)
        if socket.state == TIME_WAIT:
            owner, attribution = self._past_owner(socket, before, accepting, direction)
        else:
            owner = self._owner(socket, before, accepting)
        return Group(socket.state, owner, direction, port, path, attribution)

    def numbers(
        self, rows: Rows, before: Sequence[Group | None], number_of: Callable[[Group], int]
    ) -> list[int]:
        """The numbers of the groups of many sockets. before: as above, one for each, or nothing at all.

        Of those that are alike only one is looked at; the rest of it runs in C, since at the first look
        there are a hundred thousand. number_of has to be the same at every call.
        """
        likenesses = list(self._likenesses(rows, before))
        numbers = list(map(self._met.get, likenesses))
        if None in numbers:
            places = [place for place, number in enumerate(numbers) if number is None]
            unmet = [likenesses[place] for place in places]
            self._meet(dict(zip(unmet, places, strict=True)), rows, before, number_of)
            for place, number in zip(places, map(self._met.get, unmet), strict=True):
                numbers[place] = number
        if None in numbers:
            places = [place for place, number in enumerate(numbers) if number is None]
            for place, (socket, earlier) in zip(places, _some(rows, before, places), strict=True):
                numbers[place] = number_of(self(socket, earlier))
        return cast(list[int], numbers)

    def _likenesses(self, rows: Rows, before: Sequence[Group | None]) -> Iterable[Hashable]:
        """For each socket something that is equal for all of one group, but for what _meet() says."""
        sides = list(map(self._sides.__getitem__, rows.local_ports()))
        columns: list[Iterable[Hashable]] = [sides, _ends(rows, sides)]
        holders = rows.holders()
        if any(holders):
            columns.append(map(id, map(self._owner_of, holders)))
        if before:
            columns.append(map(id, before))
        return zip(*columns, strict=True)

    def _meet(
        self,
        one_of_each: Mapping[Hashable, int],
        rows: Rows,
        before: Sequence[Group | None],
        number_of: Callable[[Group], int],
    ) -> None:
        """Remembers the numbers by likeness where all that matters is in it: the local port of inbound
        sockets, where they lead of outbound ones. one_of_each: where one that is so stands."""
        some = _some(rows, before, list(one_of_each.values()))
        for likeness, (socket, earlier) in zip(one_of_each, some, strict=True):
            group = self(socket, earlier)
            accepted = self._sides[socket.local_port] == _LISTENED_ON
            usual = Direction.INBOUND if accepted else Direction.OUTBOUND
            if group.direction is usual:
                self._met[likeness] = number_of(group)
                if group.attribution in _MOMENTARY:
                    self._met_for_now.append(likeness)
                self._kept.append((self._owner_of(socket.holder), earlier))

    def _owner(self, socket: Socket, before: Group | None, accepting: Owner | None) -> Owner:
        """The holder; without one, who held it before; else whose accept queue it is in or came through."""
        if socket.holder != NO_HOLDER:
            return self._owner_of(socket.holder)
        if before and isinstance(before.owner, ProcessId):
            return before.owner
        return accepting or Unowned.RELEASED

    def _past_owner(
        self, socket: Socket, before: Group | None, accepting: Owner | None, direction: Direction
    ) -> tuple[Owner, Attribution]:
        """Who had a socket that is in TIME_WAIT, and how we know."""
        inbound = direction is Direction.INBOUND
        if inbound and isinstance(accepting, ProcessId):
            return accepting, Attribution.LISTENER
        if before and isinstance(before.owner, ProcessId):
            return before.owner, Attribution.OBSERVED
        if not inbound and (talker := self._talkers.only(socket.remote_address, socket.remote_port)):
            return talker, Attribution.INFERRED
        return (inbound and accepting) or Unowned.RELEASED, Attribution.NONE


def _sides(ephemeral: EphemeralRange | None, listened_on: Iterable[int]) -> list[int]:
    """What each local port tells. A list, since bytes take five times as long to give an item."""
    chosen = ephemeral.table() if ephemeral else bytes(_PORTS)
    sides = list(chosen.translate(_BY_CHOICE))
    for port in listened_on:
        sides[port] = _LISTENED_ON
    return sides


def _ends(rows: Rows, sides: Sequence[int]) -> list[Hashable]:
    """What tells them apart, each by its side."""
    columns = zip(sides, rows.accepted(), rows.calling(), strict=True)
    return [calling if side else accepted for side, accepted, calling in columns]


def _some(
    rows: Rows, before: Sequence[Group | None], places: Sequence[int]
) -> Iterator[tuple[Socket, Group | None]]:
    """The sockets at these places, and what was before."""
    past = [before[place] for place in places] if before else repeat(None)
    return zip(rows.pick(places), past, strict=False)


class Classifiers:
    """Gives each look its classifier: that of the last one, unless something has changed it does not know."""

    def __init__(self, listeners: Listeners, talkers: Talkers) -> None:
        self._listeners = listeners
        self._talkers = talkers
        self._last: Classifier | None = None
        self._knows: tuple[object, ...] = ()

    def now(
        self, owner_of: Callable[[int], Owner], ephemeral: EphemeralRange | None, numbering: object
    ) -> Classifier:
        """numbering: equal as long as groups keep their numbers."""
        knows = self._listeners.version, ephemeral, numbering
        if self._last is None or knows != self._knows:
            self._last = Classifier(self._listeners, self._talkers, owner_of, ephemeral)
            self._knows = knows
        self._last.begin(owner_of)
        return self._last
