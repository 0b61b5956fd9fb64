"""Fixture that starts servers and stops them after the test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from .servers import Running, Start


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    running: list[Running] = []

    def start_server(*addresses: str, **limits: float) -> Running:
        running.append(Running(tmp_path, list(addresses or ["127.0.0.1:0"]), limits))
        return running[-1]

    yield start_server
    for server in running:
        server.stop()
