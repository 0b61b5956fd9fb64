"""Collects in one thread, one collection at a time; the first may begin before anybody asks."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

from prometheus_client import Metric
from prometheus_client.registry import Collector

from .worker import Worker

T = TypeVar("T")


class Collection:
    """Collects from a registry, or does other work, in one thread of its own, so that sources need no locks.

    Not to be called in two threads at a time.
    """

    def __init__(self, registry: Collector) -> None:
        self._registry = registry
        self._worker = Worker("collection")
        self._begun: Future[list[Metric]] | None = None

    def begin(self) -> None:
        """Begins the first collection, the dearest of all, for whoever asks while it goes on: the program has
        something else to do until then, and what takes time to be known is known sooner."""
        self._begun = self._collected()

    def families(self) -> Future[list[Metric]]:
        """All families, of a collection that goes on or begins."""
        begun, self._begun = self._begun, None
        return begun if begun and not begun.done() else self._collected()

    def submit(self, work: Callable[[], T]) -> Future[T]:
        """Gives what the work gives, or raises, when it is its turn."""
        return self._worker.submit(work)

    def _collected(self) -> Future[list[Metric]]:
        return self._worker.submit(lambda: list(self._registry.collect()))
