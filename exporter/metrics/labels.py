"""Label values with a fixed meaning."""

from __future__ import annotations

from typing import Final

from ..model.groups import Direction, SocketGroup

OTHER: Final = "other"
"""Process and port of series that are aggregated to limit cardinality."""
INBOUND: Final = "inbound"
"""Remote port of connections that a local listener accepted."""
NO_PORT: Final = "none"
"""Remote port of sockets without a connection."""

UNOWNED_REASONS: Final = ("released", "unreadable", "hidden", "not_found", "disabled")
"""Reasons why sockets have no known owner."""
UNREADABLE_REASONS: Final = ("permission", "vanished", "error")
"""Reasons why processes are not readable."""


def remote_port_label(group: SocketGroup) -> str:
    """Return the destination port of an outbound group, INBOUND or NO_PORT."""
    if group.direction is Direction.INBOUND:
        return INBOUND
    return str(group.port) if group.direction is Direction.OUTBOUND else NO_PORT
