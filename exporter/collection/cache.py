"""Cache of the last snapshot, for the status page."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final, NamedTuple

from ..model.snapshot import Snapshot

MAX_AGE_SECONDS: Final = 5.0
"""Maximum age of a cached snapshot. A collection may take a second of CPU time: reloading the page must not
cost more than scraping."""


class CachedSnapshot(NamedTuple):
    """Snapshot, and the time at which it was taken."""

    snapshot: Snapshot
    taken_at: datetime


class SnapshotCache:
    """Takes snapshots and keeps the last one. Not for concurrent use.

    take: returns a new snapshot. clock: returns monotonic seconds.
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
        # Dropped first: two snapshots of a big host would take many megabytes.
        self._cached = None
        self._cached = CachedSnapshot(self._take(), datetime.now(UTC))
        self._expires_at = self._clock() + MAX_AGE_SECONDS
        return self._cached
