"""What sockets that are counted together have in common."""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

from .owners import Owner


class Direction(Enum):
    """Which side opened the connection."""

    __hash__ = object.__hash__  # as Unowned's

    INBOUND = "inbound"
    """A local listener accepted it; its own port is the service."""
    OUTBOUND = "outbound"
    """The local side called; the remote port is the service."""
    NONE = "none"
    """No connection: listening, or only bound."""


class Attribution(Enum):
    """How the owner of a socket in TIME_WAIT was found: the kernel names none."""

    __hash__ = object.__hash__  # as Unowned's

    LISTENER = "listener"
    """Its local port has a listener: that process accepted it."""
    OBSERVED = "observed"
    """The same socket was seen before, with an owner."""
    INFERRED = "inferred"
    """Exactly one process talks, or lately talked, to that remote address and port."""
    NONE = "none"
    """Nobody can say."""


class Path(NamedTuple):
    """Where an outbound connection leads. `ephemeral`: its local port was taken from the range of
    ephemeral ports, so that it is one of the ports used up towards this destination."""

    local_address: bytes
    remote_address: bytes
    ephemeral: bool


class Group(NamedTuple):
    """What sockets that are counted together have in common. `port` is the service's: the local
    one for inbound sockets and listeners, the remote one for outbound, the local one for none."""

    state: int
    owner: Owner
    direction: Direction
    port: int
    path: Path | None = None
    """Of outbound sockets."""
    attribution: Attribution | None = None
    """Of sockets in TIME_WAIT."""
