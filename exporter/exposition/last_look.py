"""Looks at the host, and keeps what was seen for those who are content with it."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from threading import Lock
from typing import Final, NamedTuple

from .observation import Observation

FRESH_FOR: Final = 5.0
"""Seconds for which a look is good enough for people. A look may cost a second of processor time: people who
press reload must not be able to cost more than a Prometheus does."""


class Look(NamedTuple):
    """What was seen, and when."""

    seen: Observation
    at: datetime


class LastLook:
    """Looks with `observe`, one at a time, whoever asks from whichever thread.

    clock: seconds, never stepping.
    """

    def __init__(
        self, observe: Callable[[], Observation], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._observe = observe
        self._clock = clock
        self._lock = Lock()
        self._last: Look | None = None
        self._good_until = 0.0

    def new(self) -> Observation:
        """What is there now: for scrapes, of which each gets figures of its own."""
        with self._lock:
            return self._look().seen

    def recent(self) -> Look:
        """The last look if it is younger than FRESH_FOR, else a new one."""
        with self._lock:
            if self._last is not None and self._clock() < self._good_until:
                return self._last
            return self._look()

    def _look(self) -> Look:
        # Let go first: two looks at a big host would be many megabytes.
        self._last = None
        self._last = Look(self._observe(), datetime.now(UTC))
        self._good_until = self._clock() + FRESH_FOR
        return self._last
