"""Limit on open connections, with eviction of idle ones."""

from __future__ import annotations

import enum
import logging
from collections.abc import Iterator
from typing import Final, Generic, Protocol, TypeVar

from ..log import LogOnChange

logger: Final = logging.getLogger(__name__)


class Phase(enum.IntEnum):
    """Phase of a connection. Connections are evicted in the order of these values."""

    READING = 0
    """The request is not complete, or has not started."""
    IDLE = 1
    """A response has been sent; the client may send another request."""
    RESPONDING = 2
    """A response is in progress: the connection is never evicted."""


class Evictable(Protocol):
    """Connection that the limiter can close."""

    phase: Phase
    since: float
    """Start of the phase, in seconds of the event loop's clock."""

    def reset(self) -> None:
        """Close the connection soon, by a reset."""


_T = TypeVar("_T", bound=Evictable)


class ConnectionLimiter(Generic[_T]):
    """Tracks open connections and enforces the limit.

    At the limit a new connection evicts the longest idle one: first connections without a complete request,
    then idle keep-alive connections. Connections with a response in progress are never evicted; if all are,
    the new connection is refused.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._connections: dict[_T, None] = {}
        self._log = LogOnChange(logger)

    def __iter__(self) -> Iterator[_T]:
        return iter(list(self._connections))

    def add(self, connection: _T) -> bool:
        """Track a new connection. Return False if it is refused."""
        if len(self._connections) >= self._limit:
            self._log.failing(
                "limit", "Connection limit reached, closing the longest idle connection", limit=self._limit
            )
            victim = min(self._connections, key=lambda connection: (connection.phase, connection.since))
            if victim.phase is Phase.RESPONDING:
                return False
            del self._connections[victim]
            victim.reset()
        self._connections[connection] = None
        return True

    def remove(self, connection: _T) -> None:
        """Stop tracking a connection, unless it has been evicted."""
        self._connections.pop(connection, None)
        # At half the limit, so that a few clients that connect and disconnect do not fill the log.
        if len(self._connections) <= self._limit // 2:
            self._log.recovered("limit", "Connection count is below the limit again")
