"""Ephemeral ports in use towards each destination, and those that connect() cannot use.

connect() may use the same local port for different destinations: the limit applies to each combination of
source address, destination address and destination port (inet_hash_connect in net/ipv4/inet_hashtables.c).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from .groups import Direction, SocketGroup
from .sockets import Listener


class DestinationPorts(NamedTuple):
    """Number of ephemeral ports in use towards a destination, from the source address that uses most."""

    remote_address: bytes
    remote_port: int
    used: int


def ports_by_destination(groups: Mapping[SocketGroup, int]) -> list[DestinationPorts]:
    """Return all destinations, the one with the most ports in use first.

    Connections between the same addresses differ in their local port: the number of sockets is the number of
    ports.
    """
    used: Counter[tuple[bytes, bytes, int]] = Counter()
    for group, count in groups.items():
        if group.addresses is not None and group.addresses.ephemeral:
            used[group.addresses.local_address, group.addresses.remote_address, group.port] += count
    highest: dict[tuple[bytes, int], int] = {}
    for (_, address, port), count in used.items():
        highest[address, port] = max(count, highest.get((address, port), 0))
    destinations = [DestinationPorts(address, port, count) for (address, port), count in highest.items()]
    return sorted(destinations, key=lambda destination: (-destination.used, destination))


def unavailable_ports(
    groups: Mapping[SocketGroup, int], listeners: Iterable[Listener], is_ephemeral: Callable[[int], bool]
) -> int:
    """Return the number of ephemeral ports that connect() never takes because they are listening or bound.

    Accepted connections keep the port of their listener bound, even after the listener is closed.
    """
    bound = {group.port for group in groups if group.direction is not Direction.OUTBOUND}
    listening = {listener.local_port for listener in listeners}
    return sum(map(is_ephemeral, bound | listening))
