"""The exporter runs out of file descriptors: it serves what it can, and recovers."""

from __future__ import annotations

import socket
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from ..running import Exporter, running, until
from .exporters import PATIENCE, Client, failing, logged, scrapes_until_all_work, states

resource = pytest.importorskip("resource", reason="Windows has no limit on descriptors")

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")

FEW = 96
"""Descriptor limit at which the exporter still starts."""
ENOUGH = 560
"""Limit that the exporter sets: 512 connections and the reserved descriptors."""


def limited(kind: str) -> list[str]:
    """Return a command prefix that sets the soft (S) or hard (H) descriptor limit."""
    return ["sh", "-c", f'ulimit -S -n {FEW} && ulimit -{kind} -n {FEW} && exec "$@"', "sh"]


@pytest.fixture
def exporter(tmp_path: Path) -> Iterator[Exporter]:
    """Run an exporter with a low soft limit, which it raises."""
    with running(tmp_path / "log", through=limited("S")) as started:
        yield started


@pytest.fixture
def poor(tmp_path: Path) -> Iterator[Exporter]:
    """Run an exporter with a low hard limit."""
    with running(tmp_path / "log", through=limited("H")) as started:
        yield started


def allow(exporter: Exporter, descriptors: int) -> None:
    """Forbid new descriptors from this number on; open ones are kept."""
    hard = resource.prlimit(exporter.process.pid, resource.RLIMIT_NOFILE)[1]
    resource.prlimit(exporter.process.pid, resource.RLIMIT_NOFILE, (descriptors, hard))


def address(exporter: Exporter) -> tuple[str, int]:
    host, _, port = exporter.url.removeprefix("http://").rpartition(":")
    return host, int(port)


@contextmanager
def crowd(exporter: Exporter, number: int) -> Iterator[None]:
    """Connect `number` clients that send nothing."""
    with ExitStack() as stack:
        for _ in range(number):
            with suppress(ConnectionResetError):
                stack.enter_context(socket.create_connection(address(exporter), timeout=PATIENCE))
        yield


def test_clients_cannot_use_reserved_descriptors(exporter: Exporter) -> None:
    assert resource.prlimit(exporter.process.pid, resource.RLIMIT_NOFILE)[0] == ENOUGH
    client = Client(exporter)
    client.scrape()
    with crowd(exporter, 600):
        for _ in range(5):
            assert failing(client.scrape()) == set()
    assert logged(exporter.log, "warn", "error") == {
        "Connection limit reached, closing the longest idle connection": 1
    }


def test_low_descriptor_limit_lowers_the_connection_limit(poor: Exporter) -> None:
    client = Client(poor)
    client.scrape()
    with crowd(poor, 2 * FEW):
        scrapes_until_all_work(client)
        for _ in range(5):
            assert failing(client.scrape()) == set()


def test_exporter_without_descriptors_reports_failed_collectors(exporter: Exporter) -> None:
    client = Client(exporter)
    before = client.scrape()
    assert failing(before) == set()

    allow(exporter, 3)
    with socket.create_connection(address(exporter), timeout=PATIENCE) as waiting:
        waiting.sendall(b"GET /-/healthy HTTP/1.1\r\nHost: x\r\n\r\n")
        deadline = time.monotonic() + 2.5
        scrapes = 0
        # Longer than it takes the server to try again.
        while scrapes < 5 or time.monotonic() < deadline:
            text = client.scrape()
            scrapes += 1
            assert failing(text) >= {"states", "listeners", "close-wait", "limits"}
            assert "socket_states{" not in text
            assert "socket_host_states{" not in text
            assert "socket_time_wait_limit" not in text.replace("# ", "")
            time.sleep(0.1)
        warned = logged(exporter.log, "warn", "error")
        assert set(warned.values()) == {1}
        assert set(warned) >= {
            "Collector failed: states",
            "Collector failed: limits",
            "Accepting connections failed",
        }

        allow(exporter, ENOUGH)
        assert waiting.recv(100).startswith(b"HTTP/1.1 200")
    after = scrapes_until_all_work(client)
    assert states(after, state="listen") >= 1
    for _ in until("owners are known again"):
        if states(after, state="listen", process="unknown") <= states(
            before, state="listen", process="unknown"
        ):
            break
        after = client.scrape()
    ended = logged(exporter.log, "info")
    assert {ended[f"Collector recovered: {part}"] for part in ("states", "limits")} == {1}
    assert ended["Accepting connections recovered"] == 1
