"""Groups of sockets that are counted together."""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

from .process import Owner


class Direction(Enum):
    """Side that initiated the connection."""

    __hash__ = object.__hash__  # as in process.Unowned: called for every new socket

    INBOUND = "inbound"
    """A local listener accepted the connection; the local port is that of the service."""
    OUTBOUND = "outbound"
    """The local side initiated the connection; the remote port is that of the service."""
    NONE = "none"
    """There is no connection: the socket is listening or only bound."""


class Attribution(Enum):
    """Method by which the owner of a socket in TIME_WAIT was found; the kernel reports none."""

    __hash__ = object.__hash__  # as in process.Unowned: called for every new socket

    LISTENER = "listener"
    """The owner is that of the listener on the local port, which accepted the connection."""
    OBSERVED = "observed"
    """A previous collection contained the same socket with an owner."""
    INFERRED = "inferred"
    """The owner is the only process that was seen calling the remote address and port, and it opened
    connections there while the socket entered TIME_WAIT: probable, not certain."""
    NONE = "none"
    """The owner is unknown."""


class AddressPair(NamedTuple):
    """Local and remote address of outbound connections."""

    local_address: bytes
    remote_address: bytes
    ephemeral: bool
    """Whether the local port is in the ephemeral range, and counts towards the ports in use for the
    destination."""


class SocketGroup(NamedTuple):
    """Properties shared by sockets that are counted together."""

    state: int
    owner: Owner
    direction: Direction
    port: int
    """Port of the service: the remote port of outbound connections, otherwise the local port."""
    addresses: AddressPair | None = None
    """None except for outbound sockets."""
    attribution: Attribution | None = None
    """None except for sockets in TIME_WAIT."""
