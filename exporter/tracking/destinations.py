"""Processes that have connections to each destination.

The kernel keeps no owner for a socket in TIME_WAIT. It is inferred if only one process was seen calling the
destination, which was connected before the socket entered TIME_WAIT, and which opened further connections
there at that time. A process with one idle connection is no evidence, nor is one that connected afterwards.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable
from dataclasses import dataclass, field
from typing import Final

from ..model.groups import SocketGroup
from ..model.process import ProcessId, Unowned
from ..model.sockets import TIME_WAIT

DESTINATION_RETENTION_SECONDS: Final = 300.0
"""Time for which a process is kept after its last connection to a destination was observed."""

MAX_DESTINATIONS: Final = 10_000
"""Maximum number of destinations; above it, those that were not observed for the longest time are dropped."""

Destination = tuple[bytes, int]
"""(remote address, remote port)."""


@dataclass(slots=True)
class _Owners:
    """Owners of connections to one destination."""

    seen_at: float = 0.0
    """Time at which a connection was last observed."""
    by_name: dict[str, tuple[ProcessId, float]] = field(default_factory=dict)
    """Process name -> (one process, time at which its connection was last observed). Workers of the same name
    count as one process."""


class DestinationOwners:
    """Processes that have, or recently had, connections to each destination."""

    def __init__(self) -> None:
        # In the order of `seen_at`.
        self._destinations: dict[Destination, _Owners] = {}
        # Process names that were connected before this collection, and opened connections since the last one.
        self._opening: set[tuple[Destination, str]] = set()
        # Destinations with a connection whose process was not found in this collection.
        self._with_unknown_caller: set[Destination] = set()

    def update(
        self,
        groups: Iterable[SocketGroup],
        opened: Container[SocketGroup],
        name_of: Callable[[ProcessId], str],
        now: float,
    ) -> None:
        """Add the present connections.

        groups: all groups with sockets. opened: those with sockets that did not exist in the last collection.
        now: seconds of any clock.
        """
        self._opening.clear()
        self._with_unknown_caller.clear()
        connected: set[tuple[Destination, str]] = set()
        for group in groups:
            if group.addresses is None or group.state == TIME_WAIT or group.owner is Unowned.RELEASED:
                continue
            destination = group.addresses.remote_address, group.port
            if not isinstance(group.owner, ProcessId):
                self._with_unknown_caller.add(destination)
                continue
            name = name_of(group.owner)
            owners = self._destinations.pop(destination, None) or _Owners()
            if name not in owners.by_name:
                connected.add((destination, name))
            if group in opened:
                self._opening.add((destination, name))
            owners.seen_at = now
            owners.by_name[name] = group.owner, now
            self._destinations[destination] = owners
        self._opening -= connected
        self._drop_expired(now - DESTINATION_RETENTION_SECONDS)

    def sole_owner(self, address: bytes, port: int) -> ProcessId | None:
        """Return the only process with connections to this destination; None if there is not exactly one."""
        destination = self._destinations.get((address, port))
        # A process that has changed its name has two entries.
        owners = {owner for owner, _ in destination.by_name.values()} if destination else set()
        return owners.pop() if len(owners) == 1 else None

    def probable_owner(self, address: bytes, port: int) -> ProcessId | None:
        """Return the probable owner of sockets that entered TIME_WAIT since the last collection, or None."""
        destination = address, port
        owner = self.sole_owner(address, port)
        if owner is None or destination in self._with_unknown_caller:
            return None
        names = self._destinations[destination].by_name
        return owner if any((destination, name) in self._opening for name in names) else None

    def owners(self) -> set[ProcessId]:
        """Return the processes of all destinations."""
        return {
            owner for destination in self._destinations.values() for owner, _ in destination.by_name.values()
        }

    def __len__(self) -> int:
        return len(self._destinations)

    def _drop_expired(self, min_seen_at: float) -> None:
        surplus = len(self._destinations) - MAX_DESTINATIONS
        for position, (destination, owners) in enumerate(list(self._destinations.items())):
            if position >= surplus and owners.seen_at >= min_seen_at:
                break
            del self._destinations[destination]
        for owners in self._destinations.values():
            if len(owners.by_name) > 1:
                owners.by_name = {
                    name: (owner, seen_at)
                    for name, (owner, seen_at) in owners.by_name.items()
                    if seen_at >= min_seen_at
                }
