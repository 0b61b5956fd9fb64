"""The cache returns a recent snapshot, and takes a new one on demand."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest

from exporter.collection.cache import SnapshotCache
from exporter.model.snapshot import Snapshot

from ..snapshots import make_snapshot


class Host:
    """Counts the snapshots that are taken."""

    def __init__(self) -> None:
        self.snapshots = 0
        self.now = 100.0
        self.busy = threading.Lock()

    def snapshot(self) -> Snapshot:
        assert self.busy.acquire(blocking=False), "two snapshots at a time"
        self.snapshots += 1
        self.busy.release()
        return make_snapshot()


@pytest.fixture
def host() -> Host:
    return Host()


@pytest.fixture
def cache(host: Host) -> SnapshotCache:
    return SnapshotCache(host.snapshot, lambda: host.now)


def test_snapshot_is_cached_for_5_seconds(host: Host, cache: SnapshotCache) -> None:
    first = cache.get()
    host.now += 4.99
    assert cache.get() is first
    host.now += 0.01
    assert cache.get() is not first
    assert host.snapshots == 2


def test_snapshot_of_a_scrape_is_cached(host: Host, cache: SnapshotCache) -> None:
    snapshot = cache.refresh()
    assert cache.get().snapshot is snapshot
    assert host.snapshots == 1


def test_refresh_always_takes_a_new_snapshot(host: Host, cache: SnapshotCache) -> None:
    cache.get()
    cache.refresh()
    cache.refresh()
    assert host.snapshots == 3


def test_cached_snapshot_has_its_time(cache: SnapshotCache) -> None:
    before = datetime.now(UTC)
    assert before <= cache.get().taken_at <= datetime.now(UTC)


def test_concurrent_refreshes_do_not_overlap(cache: SnapshotCache) -> None:
    with ThreadPoolExecutor(8) as pool:
        for future in [pool.submit(cache.refresh) for _ in range(200)]:
            future.result()


def test_failure_is_not_cached(host: Host) -> None:
    def fail() -> Snapshot:
        host.snapshots += 1
        raise OSError

    failing = SnapshotCache(fail, lambda: host.now)
    for _ in range(2):
        with pytest.raises(OSError):  # noqa: PT011  # the error of fail()
            failing.get()
    assert host.snapshots == 2
