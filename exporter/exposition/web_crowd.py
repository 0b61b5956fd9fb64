"""How much of us clients may take: a bounded number of connections, and time for each step."""

from __future__ import annotations

import asyncio
import enum
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from ..log import LogOnChange

logger: Final = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Limits:
    """What a client may take of us. Times in seconds."""

    connections: int = 512
    """Open at once; see Crowd for what happens beyond."""
    request_seconds: float = 10
    """From the connect, or from the first byte of a later request, to the last byte of the request.
    TLS has to be agreed on within the first."""
    response_seconds: float = 30
    """For the client to take what has been written to it."""
    idle_seconds: int = 310
    """Between two requests. Longer than the 5 minutes after which Prometheus closes an idle connection:
    the side that closes first is the side that keeps the TIME_WAIT."""
    shutdown_seconds: int = 15
    """For the answers in flight when the server is told to stop."""


class State(enum.IntEnum):
    """What a connection is doing; those that come first are the first to go where there are too many."""

    ASKING = 0
    """Its request is not complete, or has not begun: the client's turn."""
    IDLE = 1
    """It has had an answer, and its client may ask again."""
    ANSWERING = 2
    """Never cut off: this is what the others are cut off for."""


class Member(Protocol):
    """A connection, as the crowd sees it."""

    since: float
    """When it came into its state, by the loop's clock."""

    @property
    def state(self) -> State:
        """What it is doing."""

    @property
    def is_open(self) -> bool:
        """Whether requests can come: over TLS, only after the handshake."""

    def reset(self) -> None:
        """Ends it."""


class Crowd:
    """All connections. Where there are too many, the one that has been silent for longest has to go, those
    who have asked nothing yet before those who have had an answer: who only sits there locks nobody out.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._members: dict[Member, None] = {}
        self._once = LogOnChange(logger)

    def enter(self, newcomer: Member) -> None:
        """Lets a connection in, or cuts it off where all others are being answered."""
        if len(self._members) >= self._limit:
            self._once.failing("connections", "Too many connections", limit=self._limit)
            goes = min(self._members, key=lambda each: (each.state, each.since))
            if goes.state is State.ANSWERING:
                newcomer.reset()
                return
            del self._members[goes]
            goes.reset()
        self._members[newcomer] = None

    def leave(self, member: Member) -> None:
        self._members.pop(member, None)
        # Well below the limit, lest a few clients coming and going fill the log.
        if len(self._members) <= self._limit // 2:
            self._once.recovered("connections", "Connections are accepted again")

    def dismiss(self) -> None:
        """Ends those that uvicorn does not know of yet, as TLS is not agreed on."""
        for member in list(self._members):
            if not member.is_open:
                member.reset()


class Deadline:
    """A timer that can be started again and again; a start while it runs changes nothing."""

    def __init__(self, seconds: float, action: Callable[[], None]) -> None:
        self._seconds = seconds
        self._action = action
        self._timer: asyncio.TimerHandle | None = None

    @property
    def runs(self) -> bool:
        return self._timer is not None

    def start(self) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._seconds, self._over)

    def stop(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None

    def _over(self) -> None:
        self._timer = None
        self._action()
