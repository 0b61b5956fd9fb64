"""Which processes have connections to which destination.

The kernel keeps no owner for a socket in TIME_WAIT: it is inferred from these.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

from ..model.groups import Direction, SocketGroup
from ..model.process import ProcessId, Unowned
from ..model.sockets import TIME_WAIT

DESTINATION_RETENTION_SECONDS: Final = 300.0
"""Time for which a process is remembered after its last connection to a destination was seen."""

MAX_DESTINATIONS: Final = 10_000
"""Maximum number of destinations; beyond it, those not seen for the longest time are dropped."""

Destination = tuple[bytes, int]
"""A remote address and port."""


@dataclass(slots=True)
class _Owners:
    """The owners of connections to one destination, by name: workers of one name count as one process."""

    seen_at: float = 0.0
    by_name: dict[str, tuple[ProcessId, float]] = field(default_factory=dict)


class DestinationOwners:
    """The processes that have, or lately had, connections to each destination."""

    def __init__(self) -> None:
        # In the order in which they were last seen.
        self._destinations: dict[Destination, _Owners] = {}

    def update(
        self, groups: Iterable[SocketGroup], name_of: Callable[[ProcessId], str], now: float
    ) -> set[Destination]:
        """Add the connections that exist now. Returns the destinations that had no owner before.

        groups: those with sockets in them. now: seconds of any clock.
        """
        new: set[Destination] = set()
        for group in groups:
            if group.addresses is None or group.state == TIME_WAIT or not isinstance(group.owner, ProcessId):
                continue
            destination = group.addresses.remote_address, group.port
            owners = self._destinations.pop(destination, None)
            if owners is None:
                owners = _Owners()
                new.add(destination)
            owners.seen_at = now
            owners.by_name[name_of(group.owner)] = group.owner, now
            self._destinations[destination] = owners
        self._drop_expired(now - DESTINATION_RETENTION_SECONDS)
        return new

    def sole_owner(self, address: bytes, port: int) -> ProcessId | None:
        """Return the only process with connections to this destination; None if there are several, or
        none."""
        destination = self._destinations.get((address, port))
        # A process that was renamed is known by both names.
        owners = {owner for owner, _ in destination.by_name.values()} if destination else set()
        return owners.pop() if len(owners) == 1 else None

    def owners(self) -> set[ProcessId]:
        """Return all processes that are remembered."""
        return {
            owner for destination in self._destinations.values() for owner, _ in destination.by_name.values()
        }

    def __len__(self) -> int:
        return len(self._destinations)

    def _drop_expired(self, oldest: float) -> None:
        surplus = len(self._destinations) - MAX_DESTINATIONS
        for position, (destination, owners) in enumerate(list(self._destinations.items())):
            if position >= surplus and owners.seen_at >= oldest:
                break
            del self._destinations[destination]
        for owners in self._destinations.values():
            if len(owners.by_name) > 1:
                owners.by_name = {name: seen for name, seen in owners.by_name.items() if seen[1] >= oldest}


def is_unattributed(group: SocketGroup, destinations: Iterable[Destination]) -> bool:
    """Return whether the group holds TIME_WAIT sockets without an owner, towards one of these
    destinations."""
    return (
        group.state == TIME_WAIT
        and group.owner is Unowned.RELEASED
        and group.direction is Direction.OUTBOUND
        and group.addresses is not None
        and (group.addresses.remote_address, group.port) in destinations
    )
