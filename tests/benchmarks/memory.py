"""Memory of this exporter over many scrapes."""

from __future__ import annotations

from statistics import median
from typing import Final, NamedTuple

from .load import Load
from .servers import Server, exporter

FIRST_SCRAPES: Final = 10
_REPLACE_INTERVAL: Final = 5
"""In scrapes: replacing sockets takes several times as long as a scrape."""
_WINDOW: Final = 5


class MemoryOverTime(NamedTuple):
    """Resident bytes after ten scrapes, and of the scrapes that followed: the first, the last, the peak."""

    after_ten: int
    scrapes: int
    start: int
    end: int
    peak: int

    @property
    def growth(self) -> float:
        """Relative growth between the first and the last scrapes."""
        return self.end / self.start - 1


def memory_over_time(load: Load, scrapes: int) -> MemoryOverTime:
    """Measure a new exporter over ten scrapes and `scrapes` more, while sockets are replaced."""
    with exporter() as server:
        after_ten = [_next(server, load, turn) for turn in range(FIRST_SCRAPES)][-1]
        resident = [_next(server, load, turn) for turn in range(scrapes)]
        start, end = (round(median(part)) for part in (resident[:_WINDOW], resident[-_WINDOW:]))
        return MemoryOverTime(after_ten, scrapes, start, end, server.memory().peak)


def _next(server: Server, load: Load, turn: int) -> int:
    if turn % _REPLACE_INTERVAL == 0:
        load.refresh()
        load.replace()
    server.scrape()
    return server.memory().now
