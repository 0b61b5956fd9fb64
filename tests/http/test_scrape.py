"""The collection thread, and the first collection, which starts before the first scrape."""

from __future__ import annotations

import asyncio
import gzip
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import wait

import pytest
from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily

from exporter.http.scrape import CollectionThread, PartialRefresh, ScrapeCoalescer, ScrapeParams

TEXT = ScrapeParams(open_metrics=False, gzipped=False, names=frozenset())


class BlockingCollector:
    """A collector that waits for an event and exports the number of the collection."""

    def __init__(self) -> None:
        self.collections = 0
        self.threads = set[str]()
        self.started = threading.Event()
        self.released = threading.Event()

    def collect(self) -> Iterator[Metric]:
        self.collections += 1
        self.threads.add(threading.current_thread().name)
        self.started.set()
        assert self.released.wait(20)
        yield GaugeMetricFamily("collections", "Begun.", value=self.collections)


@pytest.fixture
def slow() -> Iterator[BlockingCollector]:
    slow = BlockingCollector()
    yield slow
    slow.released.set()


def collection_of_scrape(scrapes: ScrapeCoalescer, slow: BlockingCollector) -> int:
    """Return the number of the collection that a scrape gets, which continues once the scrape has arrived."""

    async def scrape() -> bytes:
        body = scrapes.metrics(TEXT)
        slow.released.set()
        return await body

    return int(float(asyncio.run(scrape()).split()[-1]))


def test_scrape_shares_the_first_collection_while_it_runs(slow: BlockingCollector) -> None:
    scrapes = ScrapeCoalescer(slow)
    scrapes.prefetch()
    assert slow.started.wait(20)
    assert [collection_of_scrape(scrapes, slow) for _ in range(2)] == [1, 2]


def test_scrape_after_the_first_collection_gets_a_new_one(slow: BlockingCollector) -> None:
    scrapes = ScrapeCoalescer(slow)
    scrapes.prefetch()
    slow.released.set()
    scrapes.submit(lambda: None).result(20)
    assert collection_of_scrape(scrapes, slow) == 2


def test_without_prefetch_each_scrape_gets_a_new_collection(slow: BlockingCollector) -> None:
    scrapes = ScrapeCoalescer(slow)
    assert [collection_of_scrape(scrapes, slow) for _ in range(2)] == [1, 2]


def test_first_collection_that_no_scrape_waits_for_is_freed(slow: BlockingCollector) -> None:
    scrapes = ScrapeCoalescer(slow)
    scrapes.prefetch()
    slow.released.set()
    scrapes.submit(lambda: None).result(20)
    assert scrapes._prefetched is None  # noqa: SLF001  # megabytes on a big host


def test_submitted_functions_run_between_collections(slow: BlockingCollector) -> None:
    scrapes = ScrapeCoalescer(slow)
    scrapes.prefetch()
    assert slow.started.wait(20)
    ran = scrapes.submit(lambda: slow.collections)
    collection_of_scrape(scrapes, slow)
    collection_of_scrape(scrapes, slow)
    assert ran.result(20) == 1


def test_one_thread_collects_renders_and_runs_functions(slow: BlockingCollector) -> None:
    def thread_name() -> str:
        return threading.current_thread().name

    async def scenario() -> tuple[str, str]:
        scrapes = ScrapeCoalescer(slow)
        scrapes.prefetch()
        first = scrapes.metrics(TEXT)
        page = scrapes.status_page(thread_name)
        slow.released.set()
        await first
        await scrapes.metrics(TEXT)
        return (await page).decode(), scrapes.submit(thread_name).result(20)

    assert asyncio.run(scenario()) == ("collection", "collection")
    assert slow.threads == {"collection"}
    assert slow.collections == 2


def test_gzip_compresses_the_same_text(slow: BlockingCollector) -> None:
    slow.released.set()

    async def both() -> list[bytes]:
        scrapes = ScrapeCoalescer(slow)
        return await asyncio.gather(scrapes.metrics(TEXT), scrapes.metrics(TEXT._replace(gzipped=True)))

    text, compressed = asyncio.run(both())
    assert gzip.decompress(compressed) == text
    assert slow.collections == 1


def test_tasks_run_in_order_in_one_thread() -> None:
    thread, done = CollectionThread(), []

    def work(number: int) -> tuple[str, int]:
        done.append(number)
        return threading.current_thread().name, number

    futures = [thread.submit(lambda number=number: work(number)) for number in range(20)]
    assert [future.result(20) for future in futures] == [("collection", number) for number in range(20)]
    assert done == list(range(20))


def test_next_task_runs_after_an_exception() -> None:
    thread = CollectionThread()
    failed = thread.submit(lambda: 1 // 0)
    assert thread.submit(lambda: 3).result(20) == 3
    with pytest.raises(ZeroDivisionError):
        failed.result(20)


def test_cancelled_task_does_not_run() -> None:
    thread, released, ran = CollectionThread(), threading.Event(), threading.Event()
    thread.submit(lambda: released.wait(20))
    unwanted = thread.submit(ran.set)
    assert unwanted.cancel()
    released.set()
    assert thread.submit(lambda: 2).result(20) == 2
    wait([unwanted], 20)
    assert unwanted.cancelled()
    assert not ran.is_set()


def test_program_exits_while_a_task_hangs() -> None:
    program = """
import threading
from exporter.http.scrape import CollectionThread
begun = threading.Event()
CollectionThread().submit(lambda: (begun.set(), threading.Event().wait()))
begun.wait()
"""
    assert subprocess.run([sys.executable, "-c", program], timeout=20, check=False).returncode == 0


@pytest.mark.parametrize("outdated", [True, False])
def test_partial_results_are_refreshed_once_at_a_time_if_outdated(
    slow: BlockingCollector, outdated: bool
) -> None:
    begun, released, threads = threading.Semaphore(0), threading.Event(), list[threading.Thread]()

    def refresh() -> None:
        threads.append(threading.current_thread())
        begun.release()
        assert released.wait(20)

    async def scrape_three_times() -> None:
        scrapes = ScrapeCoalescer(slow, partial_refresh=PartialRefresh(lambda _: outdated, refresh))
        bodies = [scrapes.metrics(TEXT) for _ in range(3)]
        assert slow.started.wait(20)
        if outdated:
            assert begun.acquire(timeout=20)
        slow.released.set()
        await asyncio.gather(*bodies)

    asyncio.run(scrape_three_times())
    released.set()
    assert len(threads) == int(outdated)
