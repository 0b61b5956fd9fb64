"""Table of the present listeners with their owners."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from ..model.process import Owner, ProcessId, Unowned
from ..model.sockets import Listener

# Addresses of listeners on all addresses, by the length of the connection's address, in the order in which
# the kernel prefers them (inet_lookup_listener): an IPv4 listener does not accept IPv6, and `::` accepts IPv4
# unless it is v6only. b"": psutil, without an address.
_WILDCARDS: Final = {4: (bytes(4), bytes(16), b""), 16: (bytes(16), b"")}


class ListenerTable:
    """Owners of the present listeners by local address and port.

    Closed ones are forgotten: a connection that was seen while its listener existed is known to be inbound,
    and one that is first seen later is not the listener's.
    """

    def __init__(self) -> None:
        self._owners: dict[tuple[bytes, int], Owner] = {}
        self.ports: set[int] = set()
        """Local ports of all listeners."""
        self.version = 0
        """Number that changes when the table does."""

    def update(self, listeners: Iterable[tuple[Listener, Owner]]) -> None:
        """Replace the listeners by the present ones."""
        present: dict[tuple[bytes, int], Owner] = {}
        for listener, owner in listeners:
            endpoint = (listener.local_address, listener.local_port)
            present[endpoint] = _lowest_pid(present.get(endpoint, owner), owner)
        self.version += present != self._owners
        self._owners = present
        self.ports = {port for _, port in present}

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
