"""Which side of a connection is the service, as the two ports tell if no listener does.

A client's port is ephemeral: chosen by its system for one connection. A service has one port for all clients.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from operator import add
from typing import Final

from ..model.groups import Direction
from ..model.host import PORT_COUNT, EphemeralRange
from ..model.sockets import SocketTable

MIN_CLIENT_PORTS: Final = 3
"""Number of different clients' ports, seen with one local port, that show it to be a service's port. Fewer
are chance: connect() reuses a local port for other destinations."""

ASSUMED_EPHEMERAL: Final = EphemeralRange(32_768, 65_535)
"""Range by which clients are told from services if this host's is unknown: it contains the defaults of Linux
(32768 to 60999), Windows and macOS (49152 to 65535)."""

_FIRST_USER_PORT: Final = 1_024

# Roles of a local port: a listener has it; outside or inside the ephemeral range; the same, and its
# connections show that it is a service's. In steps, so that the role of the remote port can be added.
LISTENING: Final = 0
_FIXED: Final = 3
_EPHEMERAL: Final = 6
_SERVED_FIXED: Final = 9
_SERVED_EPHEMERAL: Final = 12
# Roles of a remote port: below 1024 or none; other ports outside the ephemeral range; inside.
_SYSTEM: Final = 0
_USER: Final = 1
_CLIENT: Final = 2

_INBOUND_ROLES: Final = frozenset(
    {
        *range(LISTENING, LISTENING + 3),
        _FIXED + _CLIENT,
        # Clients behind NAT, or of another system, have ports outside this host's range.
        _SERVED_FIXED + _USER,
        _SERVED_FIXED + _CLIENT,
        # By chance the port is also that of an outbound connection: to a port that is no client's.
        _SERVED_EPHEMERAL + _CLIENT,
    }
)
IS_INBOUND: Final = tuple(role in _INBOUND_ROLES for role in range(_SERVED_EPHEMERAL + 3))
"""Whether a connection whose two ports have this role is inbound."""


class PortRoles:
    """Roles of the ports of connections: one number for both ports."""

    def __init__(self, ephemeral: EphemeralRange | None, listening: Iterable[int]) -> None:
        """Prepare the first collection.

        ephemeral: range of ephemeral ports; None if unknown. listening: ports of listeners.
        """
        self._is_ephemeral = is_ephemeral = (ephemeral or ASSUMED_EPHEMERAL).as_bitmap()
        # As lists: indexing bytes takes five times as long.
        self._local = [_EPHEMERAL if flag else _FIXED for flag in is_ephemeral]
        for port in listening:
            self._local[port] = LISTENING
        self._remote = [_CLIENT if flag else _USER for flag in is_ephemeral]
        self._remote[:_FIRST_USER_PORT] = [_SYSTEM] * _FIRST_USER_PORT
        # Ports found to be services' -> their role before.
        self._served: dict[int, int] = {}

    def begin(self) -> None:
        """Begin another collection: forget which ports are services' by their connections."""
        for port, role in self._served.items():
            self._local[port] = role
        self._served.clear()

    def learn(self, tables: Iterable[SocketTable]) -> None:
        """Learn from sockets that have not been classified yet which local ports are services'.

        A port is a service's if it is connected with MIN_CLIENT_PORTS ephemeral ports which are themselves
        connected with fewer local ports: a service's port in the ephemeral range is with many.
        """
        pairs: set[int] = set()  # local port * PORT_COUNT + remote port: integers take half of the memory
        for table in tables:
            local_ports, remote_ports = table.local_ports(), table.remote_ports()
            local_roles = map(self._local.__getitem__, local_ports)
            remote_roles = map(self._remote.__getitem__, remote_ports)
            pairs.update(
                local * PORT_COUNT + remote
                for local, remote, local_role, remote_role in zip(
                    local_ports, remote_ports, local_roles, remote_roles, strict=True
                )
                if local_role and remote_role == _CLIENT
            )
        if len(pairs) < MIN_CLIENT_PORTS:
            return
        clients_of = Counter(pair // PORT_COUNT for pair in pairs)
        services_of = Counter(pair % PORT_COUNT for pair in pairs)
        evidence = Counter(
            local
            for local, remote in (divmod(pair, PORT_COUNT) for pair in pairs)
            if services_of[remote] < clients_of[local]
        )
        for port, clients in evidence.items():
            if clients >= MIN_CLIENT_PORTS and port not in self._served:
                role = self._served[port] = self._local[port]
                self._local[port] = _SERVED_FIXED if role == _FIXED else _SERVED_EPHEMERAL

    def is_service(self, local_port: int, remote_port: int) -> bool:
        """Return whether the local port is that of the service, which has no listener on its address."""
        role = self._local[local_port]
        if role == LISTENING:
            role = _EPHEMERAL if self._is_ephemeral[local_port] else _FIXED
        return IS_INBOUND[role + self._remote[remote_port]]

    def roles(self, local_ports: Sequence[int], remote_ports: Sequence[int]) -> list[int]:
        """Return the role of the ports of each connection."""
        return list(
            map(
                add,
                map(self._local.__getitem__, local_ports),
                map(self._remote.__getitem__, remote_ports),
            )
        )

    def expected(self, local_port: int, remote_port: int) -> Direction:
        """Return the direction that the ports suggest."""
        role = self._local[local_port] + self._remote[remote_port]
        return Direction.INBOUND if IS_INBOUND[role] else Direction.OUTBOUND
