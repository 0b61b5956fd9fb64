"""Keeps the last snapshot for a few seconds, for the status page."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final, NamedTuple

from ..model.snapshot import Snapshot

MAX_AGE_SECONDS: Final = 5.0
"""A snapshot of this age is good enough for people. A collection may cost a second of CPU time: reloading the
page must not cost more than a Prometheus server does."""


class CachedSnapshot(NamedTuple):
    """A snapshot, and the time at which it was taken."""

    snapshot: Snapshot
    taken_at: datetime


class SnapshotCache:
    """Takes snapshots and keeps the last one. To be used in one thread.

    clock: seconds, never stepping.
    """

    def __init__(self, take: Callable[[], Snapshot], clock: Callable[[], float] = time.monotonic) -> None:
        self._take = take
        self._clock = clock
        self._cached: CachedSnapshot | None = None
        self._expires_at = 0.0

    def refresh(self) -> Snapshot:
        """Return a new snapshot."""
        return self._refresh().snapshot

    def get(self) -> CachedSnapshot:
        """Return the last snapshot if it is younger than MAX_AGE_SECONDS, otherwise a new one."""
        if self._cached is not None and self._clock() < self._expires_at:
            return self._cached
        return self._refresh()

    def _refresh(self) -> CachedSnapshot:
        # Dropped first: two snapshots of a big host would be many megabytes.
        self._cached = None
        self._cached = CachedSnapshot(self._take(), datetime.now(UTC))
        self._expires_at = self._clock() + MAX_AGE_SECONDS
        return self._cached
