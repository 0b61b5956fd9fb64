"""Ephemeral ports in use towards each destination, and on each local address.

connect() may take the same local port for different destinations: the limit holds for each combination of
source address, destination address and destination port (inet_hash_connect in net/ipv4/inet_hashtables.c).
bind() to port 0 does not share ports: its limit holds for the local address.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from itertools import chain, compress
from typing import Final, NamedTuple

from ..model.groups import Direction, SocketGroup
from ..model.host import EphemeralRange
from ..model.sockets import Listener

_PORT_COUNT: Final = 1 << 16
_WILDCARDS: Final = frozenset({bytes(4), bytes(16), b""})
# Ports of an address are kept in a set up to this number, and in a table of all ports beyond it.
_MAX_SPARSE_PORTS: Final = 2_048


class DestinationPorts(NamedTuple):
    """A destination, and the number of ephemeral ports in use towards it from the source address that uses
    most."""

    remote_address: bytes
    remote_port: int
    used: int


def ports_by_destination(groups: Mapping[SocketGroup, int]) -> list[DestinationPorts]:
    """Return all destinations, the one with the most ports in use first.

    The kernel tells connections between the same addresses apart by their local port: the number of sockets
    is the number of ports.
    """
    used: Counter[tuple[bytes, bytes, int]] = Counter()
    for group, count in groups.items():
        if group.addresses is not None and group.addresses.ephemeral:
            used[group.addresses.local_address, group.addresses.remote_address, group.port] += count
    highest: dict[tuple[bytes, int], int] = {}
    for (_, address, port), count in used.items():
        highest[address, port] = max(count, highest.get((address, port), 0))
    found = [DestinationPorts(address, port, count) for (address, port), count in highest.items()]
    return sorted(found, key=lambda destination: (-destination.used, destination))


def unavailable_ports(
    groups: Mapping[SocketGroup, int], listeners: Iterable[Listener], is_ephemeral: Callable[[int], bool]
) -> int:
    """Return the number of ephemeral ports that connect() never takes, because they are listened on or bound.

    Accepted connections keep the port of their listener bound, even after it is closed.
    """
    bound = {group.port for group in groups if group.direction is not Direction.OUTBOUND}
    listening = {listener.local_port for listener in listeners}
    return sum(map(is_ephemeral, bound | listening))


class BoundPortCounter:
    """Counts the distinct ephemeral ports in use on each local address, by any socket."""

    def __init__(self, ephemeral: EphemeralRange) -> None:
        self.ephemeral: Final = ephemeral
        self._sparse: defaultdict[bytes, set[int]] = defaultdict(set)
        # A byte for each port: a set of all ports would take a hundred times as much memory.
        self._dense: dict[bytes, bytearray] = {}

    def add(self, endpoints: Iterable[tuple[bytes, int]]) -> None:
        """Add local addresses and ports."""
        sparse = self._sparse
        for address, port in endpoints:
            sparse[address].add(port)
        for address, ports in sparse.items():
            if len(ports) > _MAX_SPARSE_PORTS:
                table = self._dense.setdefault(address, bytearray(_PORT_COUNT))
                for port in ports:
                    table[port] = 1
                ports.clear()

    def max_per_address(self) -> int:
        """Return the number of ports in use on the local address with most of them.

        A socket bound to all addresses (0.0.0.0 or ::) uses its port on each of them.
        """
        everywhere = set().union(*map(self._ports_of, self._sparse.keys() & _WILDCARDS))
        return max((len(self._ports_of(address) | everywhere) for address in self._sparse), default=0)

    def _ports_of(self, address: bytes) -> set[int]:
        """Return the ports in use on this address that are in the ephemeral range."""
        low, high = self.ephemeral.low, self.ephemeral.high
        ports = chain(self._sparse[address], compress(range(_PORT_COUNT), self._dense.get(address, b"")))
        return {port for port in ports if low <= port <= high}.difference(self.ephemeral.reserved)
