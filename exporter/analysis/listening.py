"""Who listens, or lately listened, on which address and port. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from ..model import Listener, Owner, ProcessId, Unowned

LINGER: Final = 120.0
"""Seconds for which the port of a vanished listener stays inbound: twice the life of a TIME_WAIT."""

_ANY_ADDRESS: Final = (bytes(4), bytes(16), b"")


class Listeners:
    """Who listens, or lately listened, on which address and port."""

    def __init__(self) -> None:
        self._owners: dict[tuple[bytes, int], Owner] = {}
        self.ports: set[int] = set()
        """The ports that anybody listens, or lately listened, on."""
        self._last_seen: dict[tuple[bytes, int], float] = {}
        self.version = 0
        """Another number after each change."""

    def update(self, listeners: Iterable[tuple[Listener, Owner]], now: float) -> None:
        """Takes the listeners there are now; `now` is in seconds of any clock."""
        present: dict[tuple[bytes, int], Owner] = {}
        for listener, owner in listeners:
            place = (listener.local_address, listener.local_port)
            present[place] = _preferred(present.get(place, owner), owner)
        before = dict(self._owners)
        self._owners |= present
        self._last_seen |= dict.fromkeys(present, now)
        for place in [place for place, seen in self._last_seen.items() if now - seen > LINGER]:
            del self._owners[place], self._last_seen[place]
        self.ports = {port for _, port in self._owners}
        self.version += self._owners != before

    def forget(self, owners: Iterable[Owner]) -> None:
        """What these owners listened on stays inbound, but is nobody's until somebody is found."""
        gone = set(owners)
        for place in [place for place, owner in self._owners.items() if owner in gone]:
            self._owners[place] = Unowned.RELEASED
            self.version += 1

    def owner(self, address: bytes, port: int) -> Owner | None:
        """Whose listener accepts connections to this local address and port; None without one.

        The listener on the very address wins over one on all addresses; one on `::` serves IPv4 too.
        """
        if port not in self.ports:
            return None
        for place in (address, *_ANY_ADDRESS):
            owner = self._owners.get((place, port))
            if owner is not None:
                return owner
        return None


def _preferred(one: Owner, other: Owner) -> Owner:
    """Of several listeners on one port (SO_REUSEPORT), the lowest pid stands for all."""
    known = [owner for owner in (one, other) if isinstance(owner, ProcessId)]
    return min(known, default=one)
