"""Connections in CLOSE_WAIT, with their cause and age."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

from .groups import SocketGroup
from .sockets import CloseWaitSocket


class Cause(StrEnum):
    """Reason why a connection is in CLOSE_WAIT: what the local process has not done yet.

    The values are those of the label `cause`. Each use is a `match` that ends with assert_never(): mypy then
    reports every use that lacks a new cause.
    """

    __hash__ = str.__hash__  # Enum.__hash__ is Python code, and is called for every socket in CLOSE_WAIT

    NOT_ACCEPTED = "not_accepted"
    """accept() is missing: the connection is still in the accept queue."""
    NOT_READ = "not_read"
    """recv() is missing: data or the FIN are unread."""
    NOT_CLOSED = "not_closed"
    """close() is missing: everything has been read. Or the process still computes a response."""
    SENDING = "sending"
    """The process still sends: the peer has not acknowledged everything, or data was sent since the FIN."""
    UNKNOWN = "unknown"
    """The source reports no queue lengths."""


class ClassifiedCloseWait(NamedTuple):
    """Connection in CLOSE_WAIT with its group, cause and age."""

    close_wait: CloseWaitSocket
    group: SocketGroup
    cause: Cause
    age_seconds: float
    """Time in CLOSE_WAIT."""
