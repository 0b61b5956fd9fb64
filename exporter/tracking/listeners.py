"""Table of present and recent listeners with their owners."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from ..model.process import Owner, ProcessId, Unowned
from ..model.sockets import Listener

LISTENER_RETENTION_SECONDS: Final = 120.0
"""Time for which a closed listener stays in the table: twice the duration of TIME_WAIT."""

# Addresses of listeners on all addresses, by the length of the connection's address, in the order in which
# the kernel prefers them (inet_lookup_listener): an IPv4 listener does not accept IPv6, and `::` accepts IPv4
# unless it is v6only. b"": psutil, without an address.
_WILDCARDS: Final = {4: (bytes(4), bytes(16), b""), 16: (bytes(16), b"")}


class ListenerTable:
    """Owners of listeners by local address and port. Closed ones stay for LISTENER_RETENTION_SECONDS."""

    def __init__(self) -> None:
        self._owners: dict[tuple[bytes, int], Owner] = {}
        self.ports: set[int] = set()
        """Local ports of all listeners in the table."""
        self._last_seen: dict[tuple[bytes, int], float] = {}
        self.version = 0
        """Number that changes when the table does."""

    def update(self, listeners: Iterable[tuple[Listener, Owner]], now: float) -> None:
        """Add the present listeners, and drop expired ones. now: seconds of any clock."""
        present: dict[tuple[bytes, int], Owner] = {}
        for listener, owner in listeners:
            endpoint = (listener.local_address, listener.local_port)
            present[endpoint] = _lowest_pid(present.get(endpoint, owner), owner)
        previous = dict(self._owners)
        self._owners |= present
        self._last_seen |= dict.fromkeys(present, now)
        expired = [
            endpoint
            for endpoint, seen_at in self._last_seen.items()
            if now - seen_at > LISTENER_RETENTION_SECONDS
        ]
        for endpoint in expired:
            del self._owners[endpoint], self._last_seen[endpoint]
        self.ports = {port for _, port in self._owners}
        self.version += self._owners != previous

    def invalidate(self, owners: Iterable[Owner]) -> None:
        """Forget these owners. Their listeners stay, without an owner until one is found again."""
        stale = set(owners)
        for endpoint in [endpoint for endpoint, owner in self._owners.items() if owner in stale]:
            self._owners[endpoint] = Unowned.RELEASED
            self.version += 1

    def owner(self, address: bytes, port: int) -> Owner | None:
        """Return the owner of the listener that accepts connections to this address and port, or None.

        A listener on this address takes precedence over one on all addresses, and of those 0.0.0.0 over `::`,
        which also accepts IPv4.
        """
        if port not in self.ports:
            return None
        for local_address in (address, *_WILDCARDS.get(len(address), ())):
            owner = self._owners.get((local_address, port))
            if owner is not None:
                return owner
        return None


def _lowest_pid(first: Owner, second: Owner) -> Owner:
    """Return the owner to use for two listeners on one port (SO_REUSEPORT): the lowest pid, if any."""
    known = [owner for owner in (first, second) if isinstance(owner, ProcessId)]
    return min(known, default=first)
