"""Ephemeral ports in use on each local address.

bind() to port 0 does not share ports between destinations: its limit applies to each local address.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from itertools import chain, compress
from typing import Final

from ..model.host import PORT_COUNT, EphemeralRange

_WILDCARDS: Final = frozenset({bytes(4), bytes(16), b""})
# Up to this number the ports of an address are kept in a set, above it in a table of all ports.
_MAX_SPARSE_PORTS: Final = 2_048


class BoundPortCounter:
    """Counts the distinct ephemeral ports in use on each local address, by any socket."""

    def __init__(self, ephemeral: EphemeralRange) -> None:
        self.ephemeral: Final = ephemeral
        self._sparse: defaultdict[bytes, set[int]] = defaultdict(set)
        # One byte for each port: a set of all ports would take a hundred times as much memory.
        self._dense: dict[bytes, bytearray] = {}

    def add(self, endpoints: Iterable[tuple[bytes, int]]) -> None:
        """Add sockets, as local addresses and ports."""
        sparse = self._sparse
        for address, port in endpoints:
            sparse[address].add(port)
        for address, ports in sparse.items():
            if len(ports) > _MAX_SPARSE_PORTS:
                table = self._dense.setdefault(address, bytearray(PORT_COUNT))
                for port in ports:
                    table[port] = 1
                ports.clear()

    def max_per_address(self) -> int:
        """Return the number of ports in use on the local address with most of them.

        A socket bound to all addresses (0.0.0.0 or ::) uses its port on each of them.
        """
        wildcard_ports = set().union(*map(self._ports_of, self._sparse.keys() & _WILDCARDS))
        return max((len(self._ports_of(address) | wildcard_ports) for address in self._sparse), default=0)

    def _ports_of(self, address: bytes) -> set[int]:
        """Return the ports in use on this address that are in the ephemeral range."""
        low, high = self.ephemeral.low, self.ephemeral.high
        ports = chain(self._sparse[address], compress(range(PORT_COUNT), self._dense.get(address, b"")))
        return {port for port in ports if low <= port <= high}.difference(self.ephemeral.reserved)
