"""Who may have an older look gets it; who wants a new one does not."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest

from exporter.collection.cache import MAX_AGE_SECONDS, SnapshotCache
from exporter.model.snapshot import Snapshot

from ..snapshots import make_snapshot


class Host:
    """Counts how often it is looked at."""

    def __init__(self) -> None:
        self.looks = 0
        self.now = 100.0
        self.busy = threading.Lock()

    def observe(self) -> Snapshot:
        assert self.busy.acquire(blocking=False), "looked at twice at a time"
        self.looks += 1
        self.busy.release()
        return make_snapshot()


@pytest.fixture
def host() -> Host:
    return Host()


@pytest.fixture
def cache(host: Host) -> SnapshotCache:
    return SnapshotCache(host.observe, lambda: host.now)


def test_snapshot_is_cached_for_5_seconds(host: Host, cache: SnapshotCache) -> None:
    first = cache.get()
    host.now += MAX_AGE_SECONDS - 0.01
    assert cache.get() is first
    host.now += 0.01
    assert cache.get() is not first
    assert host.looks == 2


def test_snapshot_of_a_scrape_is_cached(host: Host, cache: SnapshotCache) -> None:
    seen = cache.refresh()
    assert cache.get().snapshot is seen
    assert host.looks == 1


def test_refresh_always_takes_a_new_snapshot(host: Host, cache: SnapshotCache) -> None:
    cache.get()
    cache.refresh()
    cache.refresh()
    assert host.looks == 3


def test_cached_snapshot_has_its_time(cache: SnapshotCache) -> None:
    before = datetime.now(UTC)
    assert before <= cache.get().taken_at <= datetime.now(UTC)


def test_nobody_looks_while_another_does(cache: SnapshotCache) -> None:
    with ThreadPoolExecutor(8) as pool:
        for future in [pool.submit(cache.refresh) for _ in range(200)]:
            future.result()


def test_failure_is_not_cached(host: Host) -> None:
    def fail() -> Snapshot:
        host.looks += 1
        raise OSError

    failing = SnapshotCache(fail, lambda: host.now)
    for _ in range(2):
        with pytest.raises(OSError):  # noqa: PT011  # the very one
            failing.get()
    assert host.looks == 2
