"""Helpers to query a running exporter during a fault."""

from __future__ import annotations

import http.client
import json
import re
from collections import Counter
from pathlib import Path
from typing import Final

from ..running import Exporter, samples, until

PATIENCE: Final = 20.0


def success(text: str) -> dict[str, float]:
    """Return collector -> whether it succeeded."""
    return {s.labels["collector"]: s.value for s in samples(text) if s.name.endswith("collector_success")}


def failing(text: str) -> set[str]:
    """Return the failed collectors."""
    parts = success(text)
    assert parts
    return {part for part, value in parts.items() if not value}


def states(text: str, **labels: str) -> float:
    """Return the sum of socket_states over the series with these labels."""
    return sum(
        s.value for s in samples(text) if s.name == "socket_states" and labels.items() <= s.labels.items()
    )


class Client:
    """A scraper with one keep-alive connection, like Prometheus."""

    def __init__(self, exporter: Exporter) -> None:
        self._connection = http.client.HTTPConnection(exporter.url.removeprefix("http://"), timeout=PATIENCE)
        self._connection.connect()

    def scrape(self) -> str:
        self._connection.request("GET", "/metrics")
        answer = self._connection.getresponse()
        text = answer.read().decode()
        assert answer.status == http.HTTPStatus.OK, text
        return text

    def scrape_after_first_collection(self) -> str:
        """Return a scrape that begins now: the first one may share the collection of the exporter's start."""
        self.scrape()
        return self.scrape()

    def close(self) -> None:
        self._connection.close()


def scrapes_until_all_work(client: Client) -> str:
    """Scrape until every collector succeeds."""
    for _ in until("every part works", PATIENCE):
        text = client.scrape()
        if not failing(text):
            return text
    raise AssertionError


def logged(log: Path, *levels: str) -> Counter[str]:
    """Return the number of log messages of these levels, with the collector's name."""
    found: Counter[str] = Counter()
    for line in log.read_text().splitlines():
        assert line.startswith("time="), line
        level = re.search(r" level=(\w+)", line)
        message = re.search(r' msg=("(?:[^"\\]|\\.)*"|\S+)', line)
        collector = re.search(r" collector=(\S+)", line)
        assert level
        assert message
        text = json.loads(message[1]) if message[1].startswith('"') else message[1]
        if level[1] in levels:
            found[f"{text}: {collector[1]}" if collector else text] += 1
    return found
