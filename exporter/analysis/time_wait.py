"""Who talks to whom, to tell whose a TIME_WAIT is: the kernel keeps no owner for it. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

from ..model import TIME_WAIT, Direction, Group, ProcessId, Unowned

REMEMBERED: Final = 300.0
"""Seconds for which a process that was seen talking to a destination is remembered."""

MOST_DESTINATIONS: Final = 10_000
"""At most so many destinations are remembered; those not seen for the longest time go first."""

Destination = tuple[bytes, int]
"""A remote address and port."""


@dataclass(slots=True)
class _Talks:
    """The processes seen talking to one destination, by name: workers of one name are one talker."""

    seen_at: float = 0.0
    by_name: dict[str, tuple[ProcessId, float]] = field(default_factory=dict)


class Talkers:
    """The processes that talk, or lately talked, to each destination."""

    def __init__(self) -> None:
        self._talks: dict[Destination, _Talks] = {}

    def update(
        self, groups: Iterable[Group], name_of: Callable[[ProcessId], str], now: float
    ) -> set[Destination]:
        """Takes what is open now. Returns the destinations that had no talker before.

        groups: those with sockets in them. now: seconds of any clock.
        """
        new: set[Destination] = set()
        for group in groups:
            if group.path is None or group.state == TIME_WAIT or not isinstance(group.owner, ProcessId):
                continue
            destination = group.path.remote_address, group.port
            talks = self._talks.pop(destination, None)
            if talks is None:
                talks = _Talks()
                new.add(destination)
            talks.seen_at = now
            talks.by_name[name_of(group.owner)] = group.owner, now
            # Put at the end: those seen last stand last.
            self._talks[destination] = talks
        self._forget_before(now - REMEMBERED)
        return new

    def only(self, address: bytes, port: int) -> ProcessId | None:
        """The one process that talks to this destination; None without one, or with several."""
        talks = self._talks.get((address, port))
        # One that has taken another name is known by both.
        owners = {owner for owner, _ in talks.by_name.values()} if talks else set()
        return owners.pop() if len(owners) == 1 else None

    def owners(self) -> set[ProcessId]:
        """Everybody who is remembered."""
        return {owner for talks in self._talks.values() for owner, _ in talks.by_name.values()}

    def __len__(self) -> int:
        return len(self._talks)

    def _forget_before(self, moment: float) -> None:
        surplus = len(self._talks) - MOST_DESTINATIONS
        for number, (destination, talks) in enumerate(list(self._talks.items())):
            if number >= surplus and talks.seen_at >= moment:
                break
            del self._talks[destination]
        for talks in self._talks.values():
            if len(talks.by_name) > 1:
                talks.by_name = {name: talk for name, talk in talks.by_name.items() if talk[1] >= moment}


def is_unexplained(group: Group, destinations: Iterable[Destination]) -> bool:
    """Whether a TIME_WAIT without an owner went to one of these destinations."""
    return (
        group.state == TIME_WAIT
        and group.owner is Unowned.RELEASED
        and group.direction is Direction.OUTBOUND
        and group.path is not None
        and (group.path.remote_address, group.port) in destinations
    )
