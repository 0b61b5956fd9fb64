"""The parts of one scrape: how long each took, and whether it worked."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from ..log import LogOnChange
from ..model.collectors import CollectorName


class Parts:
    """Measures the parts of one scrape. A part that fails leaves the others standing.

    A part may be entered more than once: its times add up, and one failure is a failure.
    """

    def __init__(self, log: LogOnChange) -> None:
        self._log = log
        self.seconds: dict[CollectorName, float] = {}
        self.failed: set[CollectorName] = set()

    @contextmanager
    def part(self, name: CollectorName) -> Iterator[None]:
        """Runs a part; whatever it raises ends the part only, and is logged once."""
        started = time.perf_counter()
        try:
            yield
        except Exception as failure:  # noqa: BLE001  # whatever it is, the other parts stand
            self.failed.add(name)
            self._log.failing(name, "Collector failed", error=failure, collector=name)
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - started

    def finish(self) -> None:
        """Logs, once, which parts work again."""
        for name in self.seconds.keys() - self.failed:
            self._log.recovered(name, "Collector works again", collector=name)
