"""Processes that have connections to each destination.

The kernel keeps no owner for a socket in TIME_WAIT: the owner is inferred from these processes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

from ..model.groups import Direction, SocketGroup
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

    def update(
        self, groups: Iterable[SocketGroup], name_of: Callable[[ProcessId], str], now: float
    ) -> set[Destination]:
        """Add the present connections. Return the destinations that had no owner before.

        groups: all groups with sockets. now: seconds of any clock.
        """
        new_destinations: set[Destination] = set()
        for group in groups:
            if group.addresses is None or group.state == TIME_WAIT or not isinstance(group.owner, ProcessId):
                continue
            destination = group.addresses.remote_address, group.port
            owners = self._destinations.pop(destination, None)
            if owners is None:
                owners = _Owners()
                new_destinations.add(destination)
            owners.seen_at = now
            owners.by_name[name_of(group.owner)] = group.owner, now
            self._destinations[destination] = owners
        self._drop_expired(now - DESTINATION_RETENTION_SECONDS)
        return new_destinations

    def sole_owner(self, address: bytes, port: int) -> ProcessId | None:
        """Return the only process with connections to this destination; None if there is not exactly one."""
        destination = self._destinations.get((address, port))
        # A process that has changed its name has two entries.
        owners = {owner for owner, _ in destination.by_name.values()} if destination else set()
        return owners.pop() if len(owners) == 1 else None

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


def is_unattributed(group: SocketGroup, destinations: Iterable[Destination]) -> bool:
    """Return whether the group has ownerless sockets in TIME_WAIT towards one of these destinations."""
    return (
        group.state == TIME_WAIT
        and group.owner is Unowned.RELEASED
        and group.direction is Direction.OUTBOUND
        and group.addresses is not None
        and (group.addresses.remote_address, group.port) in destinations
    )
