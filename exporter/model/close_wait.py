"""Connections in CLOSE_WAIT, with their cause and age."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

from .groups import SocketGroup
from .sockets import CloseWaitSocket


class Cause(StrEnum):
    """What the local program has not done yet. The values are those of the label `cause`.

    Each use is a `match` that ends with assert_never(), so that mypy lists what a new cause lacks.
    """

    __hash__ = str.__hash__  # Enum's own runs Python code, and this is hashed for every socket in CLOSE_WAIT

    NOT_ACCEPTED = "not_accepted"
    """accept(): the connection is still in the accept queue."""
    NOT_READ = "not_read"
    """recv(): data or the FIN are unread."""
    NOT_CLOSED = "not_closed"
    """close(): everything has been read."""
    SENDING = "sending"
    """The program still sends: the peer has not acknowledged everything."""
    UNKNOWN = "unknown"
    """The source has no queue lengths."""


class ClassifiedCloseWait(NamedTuple):
    """A connection in CLOSE_WAIT, with the group that it is counted in."""

    close_wait: CloseWaitSocket
    group: SocketGroup
    cause: Cause
    age: float
    """Seconds in CLOSE_WAIT."""
