"""Scrapes: the collection thread, and the requests that share its results."""

from __future__ import annotations

import asyncio
import gzip
import logging
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from queue import SimpleQueue
from threading import Thread
from typing import Final, NamedTuple, TypeVar

from prometheus_client import Metric
from prometheus_client.registry import Collector

from ..log import LogOnChange
from ..metrics.text_format import encode
from .limits import DEFAULT_LIMITS, ServerLimits

_T = TypeVar("_T")

logger: Final = logging.getLogger(__name__)

# For a body of 317 kB: level 1 gives 46 kB in 2.5 ms, 3 gives 39 kB in 2.8 ms, 5 gives 35 kB in 3.3 ms, 6
# gives 33 kB in 5 ms, 9 gives 30 kB in 20 ms.
_GZIP_LEVEL: Final = 5


class ScrapeParams(NamedTuple):
    """Parameters of a scrape. Requests with equal parameters share one response body."""

    open_metrics: bool
    """OpenMetrics 1.0.0; otherwise the text format 0.0.4."""
    gzipped: bool
    names: frozenset[str]
    """Names of the requested metric families, or of samples in them; all if empty."""
    collectors: frozenset[str] | None = None
    """Collectors whose families are requested; all if None."""


FilterFunc = Callable[[Iterable[Metric], frozenset[str]], Iterable[Metric]]
"""Returns the families of these collectors, and those that do not belong to any; must not change them."""


class CollectorFilter(NamedTuple):
    """Collectors that a request can select, and the function that selects their families."""

    collectors: tuple[str, ...]
    select: FilterFunc


NO_FILTER: Final = CollectorFilter((), lambda families, _: families)

PartialCollect = Callable[[float], Iterable[Metric]]
"""Returns the results of the running collection, if it started at this time (seconds of the monotonic clock)
or later, with unfinished collectors marked as failed. Called in the event loop's thread, while the collection
runs in another one."""


class PartialRefresh(NamedTuple):
    """Reads partial results again while a collection hangs."""

    is_outdated: Callable[[float], bool]
    """Returns whether a collection is running, but no partial result began at this time (seconds of the
    monotonic clock) or later. Called in the event loop's thread."""
    refresh: Callable[[], None]
    """Reads what `partial_collect` returns from then on. Called in a thread of its own, one at a time."""


class CollectionThread:
    """Thread that runs tasks one after the other, so that collectors need no locks.

    It starts with the first task. ThreadPoolExecutor is not used because it waits for its threads at exit:
    reading a file in /proc can block in the kernel for as long as another process does.
    """

    def __init__(self) -> None:
        self._thread: Thread | None = None
        self._tasks: SimpleQueue[Callable[[], None]] = SimpleQueue()

    def submit(self, function: Callable[[], _T]) -> Future[_T]:
        """Run the function in the thread, and return its future. To be called in one thread only."""
        future: Future[_T] = Future()

        def task() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                future.set_result(function())
            except BaseException as error:  # noqa: BLE001  # the future raises it
                future.set_exception(error)

        self._tasks.put(task)
        if self._thread is None:
            self._thread = Thread(target=self._run, name="collection", daemon=True)
            self._thread.start()
        return future

    def _run(self) -> None:
        while True:
            self._tasks.get()()


class ScrapeCoalescer:
    """Runs collections in a thread of its own and coalesces concurrent requests (Go: singleflight).

    Requests that arrive while a collection is running, or while its first response is being encoded, share
    its result: N scrapers cost as much as one. Collecting, encoding and compressing run in the thread and do
    not block the event loop; only partial responses, which are small, are encoded in the loop. The status
    page is shared the same way. To be used in one event loop.

    collector: object with `collect()`, such as a registry; called in the collection thread only.
    collector_filter: for requests that select collectors.
    partial_collect: for scrapes that time out before the collection is complete.
    partial_refresh: for scrapes that begin while a collection has been running for `max_partial_age`.
    """

    def __init__(
        self,
        collector: Collector,
        collector_filter: CollectorFilter = NO_FILTER,
        partial_collect: PartialCollect | None = None,
        limits: ServerLimits = DEFAULT_LIMITS,
        partial_refresh: PartialRefresh | None = None,
    ) -> None:
        self.collector_names: Final = frozenset(collector_filter.collectors)
        self._collector = collector
        self._select = collector_filter.select
        self._partial_collect = partial_collect
        self._limits = limits
        self._partial_refresh = partial_refresh
        self._thread = CollectionThread()
        self._refresh_thread = CollectionThread()
        self._refreshed: Future[None] | None = None
        self._prefetched: Future[list[Metric]] | None = None
        self._families: Future[list[Metric]] | None = None
        self._bodies: dict[ScrapeParams, asyncio.Future[bytes]] = {}
        self._status_page: asyncio.Future[bytes] | None = None
        self._timed_out_at: float | None = None
        self._log = LogOnChange(logger)

    def prefetch(self) -> None:
        """Start the first, most expensive collection while the server is still starting.

        A scrape that arrives while it runs gets its result; a later one gets a new collection.
        """
        self._prefetched = self._thread.submit(self._collect)
        self._prefetched.add_done_callback(lambda _: self._forget_prefetched())

    def submit(self, function: Callable[[], _T]) -> Future[_T]:
        """Run a function in the collection thread, between two collections, and return its future."""
        return self._thread.submit(function)

    def metrics(self, params: ScrapeParams) -> asyncio.Future[bytes]:
        """Return the response body of a scrape.

        The future is shared with other requests and must not be cancelled. It raises what the collection or
        its encoding raised, which has been logged.
        """
        self._refresh_partial()
        if self._families is None:
            self._families = self._prefetched or self._thread.submit(self._collect)
            self._prefetched = None
        if params not in self._bodies:
            # The thread runs its tasks in order: the families are complete when this one starts.
            families = self._families
            body = asyncio.wrap_future(self._thread.submit(lambda: self._encode(families.result(), params)))
            body.add_done_callback(lambda body: self._on_encoded(families, body))
            self._bodies[params] = body
        return self._bodies[params]

    def partial(self, params: ScrapeParams, requested_at: float) -> asyncio.Future[bytes] | None:
        """Return a completed future with the partial response body of a scrape that timed out.

        The collection continues, and the next scrape shares it. Returns None without `partial_collect`.

        requested_at: seconds of the monotonic clock.
        """
        if self._partial_collect is None:
            return None
        self._timed_out_at = time.monotonic()
        self._log.failing("timeout", "Scrape timeout exceeded, serving partial metrics")
        body = asyncio.get_running_loop().create_future()
        try:
            families = self._partial_collect(requested_at - self._limits.max_partial_age)
            body.set_result(self._encode(families, params))
        except Exception as error:  # noqa: BLE001  # logged and answered like a failed collection
            body.set_exception(error)
        self._log_outcome(body, "Partial response")
        return body

    def _refresh_partial(self) -> None:
        """Start to read partial results if those of the running collection are too old for this scrape."""
        if self._partial_refresh is None or (self._refreshed and not self._refreshed.done()):
            return
        if self._partial_refresh.is_outdated(time.monotonic() - self._limits.max_partial_age):
            self._refreshed = self._refresh_thread.submit(self._partial_refresh.refresh)

    def status_page(self, render: Callable[[], str]) -> asyncio.Future[bytes]:
        """Return the status page, as a shared future like that of metrics(). render: called in the thread."""
        if self._status_page is None:
            self._status_page = asyncio.wrap_future(self._thread.submit(lambda: render().encode()))
            self._status_page.add_done_callback(self._on_rendered)
        return self._status_page

    def _collect(self) -> list[Metric]:
        return list(self._collector.collect())

    def _forget_prefetched(self) -> None:
        """Drop the first result if no scrape waits for it. Called in the collection thread."""
        self._prefetched = None

    def _encode(self, families: Iterable[Metric], params: ScrapeParams) -> bytes:
        selected = families if params.collectors is None else self._select(families, params.collectors)
        body = encode(_filter_by_name(selected, params.names), open_metrics=params.open_metrics)
        return gzip.compress(body, _GZIP_LEVEL, mtime=0) if params.gzipped else body

    def _on_encoded(self, families: Future[list[Metric]], body: asyncio.Future[bytes]) -> None:
        # Requests after the first response get a new collection. The families, megabytes on a big host, are
        # freed when the last body is encoded.
        if self._families is families:
            self._families, self._bodies = None, {}
        self._log_outcome(body, "Collection")
        recovery_time = self._limits.scrape_recovery_time
        if self._timed_out_at is not None and time.monotonic() - self._timed_out_at > recovery_time:
            self._timed_out_at = None
            self._log.recovered("timeout", "Scrapes complete within the timeout again")

    def _on_rendered(self, page: asyncio.Future[bytes]) -> None:
        self._status_page = None
        self._log_outcome(page, "Status page")

    def _log_outcome(self, done: asyncio.Future[bytes], subject: str) -> None:
        """Log the first of consecutive failures, and the recovery."""
        if error := done.exception():
            self._log.failing(subject, f"{subject} failed", error=error)
        else:
            self._log.recovered(subject, f"{subject} recovered")


def _filter_by_name(families: Iterable[Metric], names: frozenset[str]) -> Iterator[Metric]:
    for family in families:
        if not names or not names.isdisjoint([family.name, *(sample.name for sample in family.samples)]):
            yield family
