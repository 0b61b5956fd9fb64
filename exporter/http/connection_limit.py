"""The limit on open connections, and which of them is closed at the limit."""

from __future__ import annotations

import enum
import logging
from collections.abc import Iterator
from typing import Final, Generic, Protocol, TypeVar

from ..log import LogOnChange

logger: Final = logging.getLogger(__name__)


class Phase(enum.IntEnum):
    """What a connection is doing, in the order in which connections are evicted."""

    READING = 0
    """Its request is not complete, or has not begun."""
    IDLE = 1
    """It has had a response, and its client may send another request."""
    RESPONDING = 2
    """Never evicted."""


class Evictable(Protocol):
    """A connection, as the limiter sees it."""

    phase: Phase
    since: float
    """When it entered its phase, by the event loop's clock."""

    def reset(self) -> None:
        """Close it soon, by a reset."""


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
        self._once = LogOnChange(logger)

    def __iter__(self) -> Iterator[_T]:
        return iter(list(self._connections))

    def add(self, new: _T) -> bool:
        """Track a connection; False where there is no place for it."""
        if len(self._connections) >= self._limit:
            self._once.failing(
                "limit", "Connection limit reached, closing the longest idle connection", limit=self._limit
            )
            victim = min(self._connections, key=lambda connection: (connection.phase, connection.since))
            if victim.phase is Phase.RESPONDING:
                return False
            del self._connections[victim]
            victim.reset()
        self._connections[new] = None
        return True

    def remove(self, connection: _T) -> None:
        """Stop tracking a connection, if it has not been evicted."""
        self._connections.pop(connection, None)
        # At half the limit, so that a few clients that come and go do not fill the log.
        if len(self._connections) <= self._limit // 2:
            self._once.recovered("limit", "Connection count is below the limit again")
