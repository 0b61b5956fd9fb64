"""How many ephemeral ports are used up, towards one destination and on one local address. Pure.

connect() may take the same local port for different destinations: the limit holds for each source
address, destination address and destination port (inet_hash_connect in net/ipv4/inet_hashtables.c).
bind() to port 0 shares nothing: there the limit holds for the local address.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from itertools import chain, compress
from typing import Final, NamedTuple

from ..model import Direction, EphemeralRange, Group, Listener

_PORTS: Final = 1 << 16
_ANYWHERE: Final = frozenset({bytes(4), bytes(16), b""})
# So many ports of an address are kept as a set.
_FEW: Final = 2_048


class Destination(NamedTuple):
    """Where connections lead, and how many ports its worst source address uses towards it."""

    remote_address: bytes
    remote_port: int
    used: int


def destinations(groups: Mapping[Group, int]) -> list[Destination]:
    """All destinations, the fullest first. The ports of one path are distinct, since the kernel tells
    connections apart by them: counting sockets counts ports."""
    used: Counter[tuple[bytes, bytes, int]] = Counter()
    for group, count in groups.items():
        if group.path is not None and group.path.ephemeral:
            used[group.path.local_address, group.path.remote_address, group.port] += count
    worst: dict[tuple[bytes, int], int] = {}
    for (_, address, port), count in used.items():
        worst[address, port] = max(count, worst.get((address, port), 0))
    found = [Destination(address, port, count) for (address, port), count in worst.items()]
    return sorted(found, key=lambda each: (-each.used, each))


def ports_lost(
    groups: Mapping[Group, int], listeners: Iterable[Listener], is_ephemeral: Callable[[int], bool]
) -> int:
    """Ephemeral ports that no connect() gets, because somebody listens on them or has bound them.

    Connections that a listener accepted keep its port bound, also when it is gone.
    """
    bound = {group.port for group in groups if group.direction is not Direction.OUTBOUND}
    listening = {listener.local_port for listener in listeners}
    return sum(map(is_ephemeral, bound | listening))


class PortsTaken:
    """The distinct ephemeral ports that are taken on each local address, by whatever sockets."""

    def __init__(self, ephemeral: EphemeralRange) -> None:
        self.ephemeral: Final = ephemeral
        self._few: defaultdict[bytes, set[int]] = defaultdict(set)
        # A byte for each port: sets of all ports would take a hundred times as much.
        self._many: dict[bytes, bytearray] = {}

    def add(self, ends: Iterable[tuple[bytes, int]]) -> None:
        """Takes local addresses and ports."""
        taken = self._few
        for address, port in ends:
            taken[address].add(port)
        for address, ports in taken.items():
            if len(ports) > _FEW:
                self._mark(self._many.setdefault(address, bytearray(_PORTS)), ports)

    def most(self) -> int:
        """How many are taken on the fullest address.

        What is bound to all addresses (0.0.0.0 or ::) takes its port on every one of them.
        """
        everywhere = set().union(*map(self._on, self._few.keys() & _ANYWHERE))
        return max((len(self._on(address) | everywhere) for address in self._few), default=0)

    def _mark(self, table: bytearray, ports: set[int]) -> None:
        for port in ports:
            table[port] = 1
        ports.clear()

    def _on(self, address: bytes) -> set[int]:
        """The ports on this address that connect() could choose otherwise."""
        low, high = self.ephemeral.low, self.ephemeral.high
        ports = chain(self._few[address], compress(range(_PORTS), self._many.get(address, b"")))
        return {port for port in ports if low <= port <= high}.difference(self.ephemeral.reserved)
