"""A process whose file in /proc cannot be read to its end: a scrape is answered in time all the same.

The file is a FIFO that nobody writes to: open() hangs there, as reads do of a process whose memory is locked.
"""

from __future__ import annotations

import os
import socket
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

from ..running import Exporter, running, samples, until, value

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")

PID: Final = 4_000_001
"""Higher than any real one."""
TIMEOUT: Final = 1.0
PATIENCE: Final = 20.0


@pytest.fixture
def held() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


class Proc:
    """A /proc with one process, which holds that socket, and whose stat hangs."""

    def __init__(self, root: Path, held: socket.socket) -> None:
        self.root = root
        for name in ("sys", "stat", "self", "thread-self"):
            (root / name).symlink_to(f"/proc/{name}")
        directory = root / str(PID)
        (directory / "fd").mkdir(parents=True)
        (directory / "fd" / "3").symlink_to(f"socket:[{os.fstat(held.fileno()).st_ino}]")
        (directory / "limits").symlink_to("/proc/self/limits")
        self._stat = directory / "stat"
        os.mkfifo(self._stat)

    @contextmanager
    def released(self) -> Iterator[None]:
        """Has the file be a plain one, and whoever hangs in it read that."""
        fields = ["S", *map(str, range(4, 22)), "100", "4096", "1"]
        text = f"{PID} (hung) {' '.join(fields)}\n"
        plain = self._stat.with_name("plain")
        plain.write_text(text)
        fifo = os.open(self._stat, os.O_RDWR)
        plain.rename(self._stat)
        os.write(fifo, text.encode())
        os.close(fifo)
        yield


@pytest.fixture
def proc(tmp_path: Path, held: socket.socket) -> Proc:
    root = tmp_path / "proc"
    root.mkdir()
    return Proc(root, held)


def scrape(exporter: Exporter) -> tuple[str, float]:
    """A scrape as Prometheus makes it, and the seconds that it took."""
    headers = {"X-Prometheus-Scrape-Timeout-Seconds": str(TIMEOUT)}
    request = urllib.request.Request(exporter.url + "/metrics", headers=headers)  # noqa: S310  # our own URL
    started = time.monotonic()
    with urllib.request.urlopen(request, timeout=PATIENCE) as answer:  # noqa: S310  # our own URL
        return answer.read().decode(), time.monotonic() - started


def success(text: str) -> dict[str, float]:
    return {s.labels["collector"]: s.value for s in samples(text) if s.name.endswith("collector_success")}


def test_what_is_ready_comes_in_time_and_the_rest_when_it_is(tmp_path: Path, proc: Proc) -> None:
    with running(tmp_path / "log", f"--path.procfs={proc.root}") as exporter:
        text, seconds = scrape(exporter)
        # Half a second, and what a busy machine adds.
        assert seconds < PATIENCE / 2
        assert success(text) == {part: float(part == "limits") for part in success(text)}
        assert set(success(text)) >= {"states", "owners", "listeners", "close-wait"}
        assert (value(text, "socket_host_states", state="listen") or 0) >= 1
        assert value(text, "socket_ephemeral_ports_limit") is None
        assert value(text, "socket_time_wait_duration_seconds") == 60
        assert "socket_states{" not in text

        for _ in range(3):
            again, _ = scrape(exporter)
            assert set(success(again)) == set(success(text))
            assert success(again)["states"] == 0
        assert exporter.get("/-/healthy")
        assert exporter.log.read_text().count("Scrape answered in part") == 1

        with proc.released():
            for _ in until("a whole answer"):
                text, _ = scrape(exporter)
                if set(success(text).values()) == {1.0}:
                    break
        assert value(text, "socket_states", process="hung", state="listen") == 1
        assert "Traceback" not in exporter.log.read_text()


def test_it_stops_when_told_to_also_while_it_hangs(tmp_path: Path, proc: Proc) -> None:
    with running(tmp_path / "log", f"--path.procfs={proc.root}") as exporter:
        assert "socket_host_states" in scrape(exporter)[0]
        exporter.process.terminate()
        assert exporter.process.wait(PATIENCE) == 0
