"""Table of the present listeners with their owners."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from functools import reduce
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
        # Endpoint -> owner -> connections in its accept queues, if several owners share it (SO_REUSEPORT).
        self._queues: dict[tuple[bytes, int], Counter[Owner]] = {}
        self.ports: set[int] = set()
        """Local ports of all listeners."""
        self.version = 0
        """Number that changes when the table does."""

    def update(self, listeners: Iterable[tuple[Listener, Owner]]) -> None:
        """Replace the listeners by the present ones."""
        present: dict[tuple[bytes, int], Owner] = {}
        queues: dict[tuple[bytes, int], Counter[Owner]] = {}
        for listener, owner in listeners:
            endpoint = (listener.local_address, listener.local_port)
            queues.setdefault(endpoint, Counter())[owner] += listener.queue_length or 0
            present[endpoint] = _lowest_pid(present.get(endpoint, owner), owner)
        self.version += present != self._owners
        self._owners = present
        self._queues = {endpoint: +lengths for endpoint, lengths in queues.items() if len(lengths) > 1}
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
        endpoint = self._endpoint(address, port)
        return self._owners[endpoint] if endpoint else None

    def queue_owner(self, address: bytes, port: int, previous: Owner | None) -> Owner | None:
        """Return the owner of the accept queue that holds a connection to this address and port.

        None if the listeners of the port have one owner, or empty queues. If several have connections in
        their queues, it is the previous owner or else that of the longest queue, since the kernel does not
        tell. Changes without a new `version`.
        """
        endpoint = self._endpoint(address, port)
        lengths = self._queues.get(endpoint) if endpoint else None
        if not lengths:
            return None
        if previous is not None and previous in lengths:
            return previous
        longest = max(lengths.values())
        return reduce(_lowest_pid, (owner for owner, length in lengths.items() if length == longest))

    def _endpoint(self, address: bytes, port: int) -> tuple[bytes, int] | None:
        """Return the endpoint of the listener that accepts connections to this address and port, or None."""
        if port in self.ports:
            for local_address in (address, *_WILDCARDS.get(len(address), ())):
                if (local_address, port) in self._owners:
                    return local_address, port
        return None


def _lowest_pid(first: Owner, second: Owner) -> Owner:
    """Return the owner to use for two listeners on one port (SO_REUSEPORT): the lowest pid, if any."""
    known = [owner for owner in (first, second) if isinstance(owner, ProcessId)]
    return min(known, default=first)
