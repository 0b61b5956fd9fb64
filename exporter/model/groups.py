"""Groups of sockets that are counted together."""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

from .process import Owner


class Direction(Enum):
    """Which side initiated the connection."""

    __hash__ = object.__hash__  # as in process.Unowned: called for every new socket

    INBOUND = "inbound"
    """A local listener accepted it; the local port is the service's."""
    OUTBOUND = "outbound"
    """The local side initiated the connection; the remote port is the service's."""
    NONE = "none"
    """No connection: listening, or only bound."""


class Attribution(Enum):
    """How the owner of a socket in TIME_WAIT was found; the kernel names none."""

    __hash__ = object.__hash__  # as in process.Unowned: called for every new socket

    LISTENER = "listener"
    """Its local port has a listener, whose process accepted it."""
    OBSERVED = "observed"
    """An earlier collection contained the same socket with an owner."""
    INFERRED = "inferred"
    """Exactly one process has, or recently had, connections to that remote address and port."""
    NONE = "none"
    """The owner is unknown."""


class AddressPair(NamedTuple):
    """Local and remote address of outbound connections."""

    local_address: bytes
    remote_address: bytes
    ephemeral: bool
    """Whether the local port is in the ephemeral range, so that it counts against the destination's ports."""


class SocketGroup(NamedTuple):
    """Properties shared by sockets that are counted together."""

    state: int
    owner: Owner
    direction: Direction
    port: int
    """Port of the service: the remote port of outbound connections, otherwise the local port."""
    addresses: AddressPair | None = None
    """None for all but outbound sockets."""
    attribution: Attribution | None = None
    """None for all but sockets in TIME_WAIT."""
