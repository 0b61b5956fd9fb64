"""What requests share: what is collected, encoded, and made into the status page, each once at a time."""

from __future__ import annotations

import asyncio
import gzip
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from typing import Final, NamedTuple

from prometheus_client import Metric

from ..log import LogOnChange
from .collection import Collection
from .encoder import Encoder

logger = logging.getLogger(__name__)

# Of a body of 317 kB: level 1 leaves 46 kB in 2.5 ms, 3 leaves 39 kB in 2.8 ms, 5 leaves 35 kB in 3.3 ms,
# 6 leaves 33 kB in 5 ms, 9 leaves 30 kB in 20 ms.
_GZIP_LEVEL: Final = 5


Ready = Callable[[float], Iterable[Metric]]
"""Gives what the collection that goes on has found, if it has begun at this time (of the monotonic clock) or
later, and says what is missing. Called while it goes on, in another thread."""

_RECENT: Final = 5.0
"""Seconds: what was found so long before somebody asked is no answer to him. A collection that hangs must not
go on telling what it found at its beginning."""

_IN_TIME_FOR: Final = 60.0
"""Seconds without an answer in part, after which the log says that answers are whole again: of two scrapers,
one may wait for longer than the other."""


class Form(NamedTuple):
    """How the metrics are to be written. `names` are the families wanted, all if empty; `collectors` those
    whose families are, all if None.

    A family is meant by its own name and by those of its samples. Without `open_metrics`: text format 0.0.4.
    """

    open_metrics: bool
    gzipped: bool
    names: frozenset[str]
    collectors: frozenset[str] | None = None


Narrow = Callable[[Iterable[Metric], frozenset[str]], Iterable[Metric]]


class Selection(NamedTuple):
    """The collectors that a request may choose from, and how families are narrowed down to those chosen."""

    collectors: Sequence[str]
    narrow: Narrow


NO_SELECTION: Final = Selection((), lambda families, _: families)


class SharedWork:
    """Whoever asks while a collection runs, or while its first answer is encoded, shares it: many scrapers
    cost as much as one, and none of them can make the event loop wait. So it is with the status page.
    """

    def __init__(
        self,
        collection: Collection,
        narrow: Narrow = NO_SELECTION.narrow,
        ready: Ready | None = None,
    ) -> None:
        self._collection = collection
        self._narrow = narrow
        self._ready = ready
        self._late_at: float | None = None
        # The collection's thread's, by whether they write OpenMetrics.
        self._encoders = {open_metrics: Encoder(open_metrics=open_metrics) for open_metrics in (False, True)}
        self._families: Future[list[Metric]] | None = None
        self._bodies: dict[Form, asyncio.Future[bytes]] = {}
        self._page: asyncio.Future[bytes] | None = None
        self._once = LogOnChange(logger)

    def body(self, form: Form) -> asyncio.Future[bytes]:
        """Gives the metrics, as they will be written. Shared with others: not to be cancelled.

        The future raises whatever the collection or its encoding raised; that has been logged by then.
        """
        if self._families is None:
            self._families = self._collection.families()
        if form not in self._bodies:
            # The only thread takes its work in order, so the families are there when this begins.
            families = self._families
            encoder = self._encoders[form.open_metrics]
            body = asyncio.wrap_future(
                self._collection.submit(lambda: _encode(families.result(), form, self._narrow, encoder))
            )
            body.add_done_callback(lambda body: self._finished(families, body))
            self._bodies[form] = body
        return self._bodies[form]

    def late(self, form: Form, asked_at: float) -> asyncio.Future[bytes] | None:
        """Gives what is ready of the collection, for whom it takes too long; None where that is never known.

        The collection goes on, and whoever asks next shares it. asked_at: of the monotonic clock.
        The future is done.
        """
        if self._ready is None:
            return None
        self._late_at = time.monotonic()
        self._once.failing(
            "Lateness", "Scrape answered in part: the collection takes longer than its timeout"
        )
        body = asyncio.get_running_loop().create_future()
        try:
            encoder = Encoder(open_metrics=form.open_metrics)
            body.set_result(_encode(self._ready(asked_at - _RECENT), form, self._narrow, encoder))
        except Exception as error:  # noqa: BLE001  # as of a collection: told and logged, whatever it is
            body.set_exception(error)
        self._tell(body, "Answer in part")
        return body

    def page(self, status: Callable[[], str]) -> asyncio.Future[bytes]:
        """Gives the status page, as body() gives the metrics."""
        if self._page is None:
            self._page = asyncio.wrap_future(self._collection.submit(lambda: status().encode()))
            self._page.add_done_callback(self._page_finished)
        return self._page

    def _finished(self, families: Future[list[Metric]], body: asyncio.Future[bytes]) -> None:
        # What comes later than the first answer wants newer figures. Dropped at once also because the
        # families of a big host are megabytes.
        if self._families is families:
            self._families, self._bodies = None, {}
        self._tell(body, "Collection")
        if self._late_at is not None and time.monotonic() - self._late_at > _IN_TIME_FOR:
            self._late_at = None
            self._once.recovered("Lateness", "Scrapes are answered in time again")

    def _page_finished(self, page: asyncio.Future[bytes]) -> None:
        self._page = None
        self._tell(page, "Status page")

    def _tell(self, done: asyncio.Future[bytes], what: str) -> None:
        """Logs, once, that a piece of work failed, and that it works again."""
        if error := done.exception():
            self._once.failing(what, f"{what} failed", error=error)
        else:
            self._once.recovered(what, f"{what} works again")


def _encode(collected: Iterable[Metric], form: Form, narrow: Narrow, encoder: Encoder) -> bytes:
    chosen = collected if form.collectors is None else narrow(collected, form.collectors)
    body = encoder.encode(_named(chosen, form.names))
    return gzip.compress(body, _GZIP_LEVEL, mtime=0) if form.gzipped else body


def _named(families: Iterable[Metric], names: frozenset[str]) -> Iterator[Metric]:
    for family in families:
        if not names or not names.isdisjoint([family.name, *(s.name for s in family.samples)]):
            yield family
