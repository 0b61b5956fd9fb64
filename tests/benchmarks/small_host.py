"""This exporter on a host with few sockets: start time, CPU time of a scrape, and memory."""

from __future__ import annotations

import time
from statistics import median
from typing import Final, NamedTuple

from . import network
from .load import Load
from .servers import exporter

SOCKETS: Final = 500
_SCRAPES: Final = 30


class SmallHost(NamedTuple):
    """Medians: seconds from process start to the first response, CPU seconds of a scrape, resident bytes
    before and after the first scrape."""

    start_seconds: float
    cpu_seconds: float
    unscraped_bytes: int
    idle_bytes: int


def measure(rounds: int) -> SmallHost:
    """Measure one start per round, and scrapes with sockets replaced in between."""
    network.enter_new_namespace()
    with Load(SOCKETS) as load:
        started = [_start(load) for _ in range(rounds)]
        seconds, unscraped, idle = (median(figures) for figures in zip(*started, strict=True))
        return SmallHost(seconds, _cpu_seconds(load), round(unscraped), round(idle))


def _start(load: Load) -> tuple[float, int, int]:
    load.replace()
    with exporter() as server:
        server.scrape()
        seconds = time.monotonic() - server.started
        scraped = server.memory().now
    with exporter() as server:
        return seconds, server.memory().now, scraped


def _cpu_seconds(load: Load) -> float:
    with exporter() as server:
        server.scrape()
        used = []
        for _ in range(_SCRAPES):
            load.refresh()
            load.replace()
            used.append(server.scrape().cpu_seconds)
        return median(used)
