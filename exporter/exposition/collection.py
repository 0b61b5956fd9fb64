"""Collects in one thread, one collection at a time; the first may begin before anybody asks."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Final, NamedTuple, TypeVar

from prometheus_client import Metric
from prometheus_client.registry import Collector

from .worker import Worker

T = TypeVar("T")

_DEAR: Final = 0.25
"""Seconds. Who asks while the first collection goes on gets it if it takes longer, though it began before he
asked, and a newer one if not."""


class _First(NamedTuple):
    families: list[Metric]
    seconds: float


class Collection:
    """Collects from a registry, or does other work, in one thread of its own, so that sources need no locks.

    Not to be called in two threads at a time.
    """

    def __init__(self, registry: Collector) -> None:
        self._registry = registry
        self._worker = Worker("collection")
        self._first: Future[_First] | None = None

    def begin(self) -> None:
        """Begins the first collection, the dearest of all, before anybody asks: meanwhile the program has
        something else to do, and what takes time to be known is known sooner."""
        self._first = self._worker.submit(self._timed)

    def families(self) -> Future[list[Metric]]:
        """All families, of a new collection, or of the first where that goes on and is dear."""
        first, self._first = self._first, None
        if first is None or first.done():
            return self._worker.submit(self._collected)
        return self._worker.submit(lambda: self._first_or_new(first.result()))

    def submit(self, work: Callable[[], T]) -> Future[T]:
        """Gives what the work gives, or raises, when it is its turn."""
        return self._worker.submit(work)

    def _first_or_new(self, first: _First) -> list[Metric]:
        return first.families if first.seconds > _DEAR else self._collected()

    def _timed(self) -> _First:
        started = time.monotonic()
        return _First(self._collected(), time.monotonic() - started)

    def _collected(self) -> list[Metric]:
        return list(self._registry.collect())
