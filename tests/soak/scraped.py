"""The exporter under test: scrapes over one connection, and its memory."""

from __future__ import annotations

import http.client
import re
import time
from collections import Counter
from pathlib import Path
from typing import Final, NamedTuple

from ..running import Exporter, samples
from .held import LOST, UNKNOWN, key_of
from .judge import Held, Sample, add_held

_SCRAPE_TIMEOUT: Final = "60"
"""In seconds: on a machine with other work, a scrape of this test may take longer than the usual 10 s."""

_DEAD: Final = {"lost": LOST, "unknown": UNKNOWN}


class Scrape(NamedTuple):
    """Parsed metrics of a scrape."""

    totals: dict[str, int]
    """socket_host_states."""
    series: dict[tuple[str, str, str], float]
    """socket_states: (state, process, remote port) -> sockets."""
    dead_fds: dict[tuple[str, str], int]
    """socket_dead_fds: (process, connection) -> file descriptors."""
    open_fds: dict[str, float]
    """socket_process_open_fds: process -> file descriptors."""
    failing: list[str]

    def by_process(self) -> Held:
        """Return the sockets of each process, with dead file descriptors as two more states."""
        owners: dict[str, Counter[str]] = {}
        for (state, process, port), number in self.series.items():
            owners.setdefault(process, Counter())[key_of(state, port)] += int(number)
        for (process, connection), number in self.dead_fds.items():
            owners.setdefault(process, Counter())[_DEAD[connection]] += number
        return owners


class Scraped:
    """One keep-alive connection to an exporter."""

    def __init__(self, exporter: Exporter) -> None:
        self._process = Path("/proc", str(exporter.process.pid))
        self._connection = http.client.HTTPConnection(exporter.url.removeprefix("http://"), timeout=70)
        self._started = time.monotonic()
        # From now on, so that `ss` counts it before the first scrape too.
        self._connection.connect()

    def held(self) -> Held:
        """Return the sockets of this connection: of this process, and of the exporter with its listener."""
        exporter = (self._process / "comm").read_text().strip()
        here = Path("/proc/self/comm").read_text().strip()
        port = str(self._connection.port)
        return add_held(
            {exporter: {key_of("established", "inbound"): 1, key_of("listen", "none"): 1}},
            {here: {key_of("established", port): 1}},
        )

    def scrape(self) -> Scrape:
        self._connection.request(
            "GET", "/metrics", headers={"X-Prometheus-Scrape-Timeout-Seconds": _SCRAPE_TIMEOUT}
        )
        answer = self._connection.getresponse()
        text = answer.read().decode()
        if answer.status != http.HTTPStatus.OK:
            raise RuntimeError(f"the exporter answered {answer.status}: {text}")
        totals: dict[str, int] = {}
        series: dict[tuple[str, str, str], float] = {}
        dead_fds: dict[tuple[str, str], int] = {}
        open_fds: dict[str, float] = {}
        failing: list[str] = []
        for name, labels, value, *_ in samples(text):
            if name == "socket_host_states":
                totals[labels["state"]] = int(value)
            elif name == "socket_states":
                series[labels["state"], labels["process"], labels["remote_port"]] = value
            elif name == "socket_dead_fds":
                dead_fds[labels["process"], labels["connection"]] = int(value)
            elif name == "socket_process_open_fds":
                open_fds[labels["process"]] = value
            elif name == "socket_scrape_collector_success" and not value:
                failing.append(labels["collector"])
        return Scrape(totals, series, dead_fds, open_fds, failing)

    def sample(self) -> Sample:
        status = (self._process / "status").read_text()
        resident, threads = (
            re.search(rf"^{key}:\s*(\d+)", status, re.MULTILINE) for key in ("VmRSS", "Threads")
        )
        assert resident is not None
        assert threads is not None
        descriptors = len(list((self._process / "fd").iterdir()))
        return Sample(time.monotonic() - self._started, int(resident[1]) << 10, descriptors, int(threads[1]))
