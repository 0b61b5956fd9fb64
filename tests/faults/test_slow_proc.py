"""A process whose /proc file hangs: scrapes are still served in time."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import pytest

from ..running import Exporter, running, until, value
from .exporters import PATIENCE, logged, success
from .hung import HungProc

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")

TIMEOUT: Final = 1.0


@pytest.fixture
def held() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


@pytest.fixture
def proc(tmp_path: Path, held: socket.socket) -> HungProc:
    return HungProc(tmp_path / "proc", held)


def scrape(exporter: Exporter) -> tuple[str, float]:
    """Scrape like Prometheus; return the text and the seconds it took."""
    headers = {"X-Prometheus-Scrape-Timeout-Seconds": str(TIMEOUT)}
    request = urllib.request.Request(exporter.url + "/metrics", headers=headers)  # noqa: S310  # our own URL
    started = time.monotonic()
    with urllib.request.urlopen(request, timeout=PATIENCE) as answer:  # noqa: S310  # our own URL
        return answer.read().decode(), time.monotonic() - started


def test_partial_response_then_complete_response(tmp_path: Path, proc: HungProc) -> None:
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
        assert exporter.log.read_text().count("Scrape timeout exceeded, serving partial metrics") == 1

        proc.release()
        for _ in until("a whole answer"):
            text, _ = scrape(exporter)
            if set(success(text).values()) == {1.0}:
                break
        assert value(text, "socket_states", process="hung", state="listen") == 1
        assert "Traceback" not in exporter.log.read_text()


def test_sigterm_stops_a_hanging_exporter(tmp_path: Path, proc: HungProc) -> None:
    with running(tmp_path / "log", f"--path.procfs={proc.root}") as exporter:
        assert "socket_host_states" in scrape(exporter)[0]
        exporter.process.terminate()
        assert exporter.process.wait(PATIENCE) == 0


def test_host_totals_limits_and_counters_are_current_while_proc_hangs(tmp_path: Path, proc: HungProc) -> None:
    with running(tmp_path / "log", f"--path.procfs={proc.root}") as exporter, ExitStack() as stack:
        first, _ = scrape(exporter)
        before = value(first, "socket_host_states", state="listen") or 0
        for count in (100, 200):
            # Longer than results of the collection that hangs may be served.
            time.sleep(5.5)
            for _ in range(100):
                stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            text, seconds = scrape(exporter)
            assert seconds < PATIENCE / 2
            assert success(text) == success(first)
            assert success(text)["limits"] == 1
            # Other programs on this host may close a few.
            assert (value(text, "socket_host_states", state="listen") or 0) > before + count - 50
            assert value(text, "socket_host_states", state="time_wait") is not None
            assert value(text, "socket_time_wait_limit") is not None
            assert value(text, "socket_kernel_listen_drops_total") is not None
            assert "socket_states{" not in text
        assert logged(exporter.log, "warn", "error") == {
            "Scrape timeout exceeded, serving partial metrics": 1
        }

        proc.release()
        for _ in until("a whole answer"):
            text, _ = scrape(exporter)
            if set(success(text).values()) == {1.0}:
                break
        assert value(text, "socket_states", process="hung", state="listen") == 1
        # That may have been the collection that hung.
        text, _ = scrape(exporter)
        assert set(success(text).values()) == {1.0}
        assert (value(text, "socket_host_states", state="listen") or 0) > before + 150


def run_hanging(proc: HungProc, *flags: str) -> subprocess.CompletedProcess[str]:
    """Run a command on the hanging /proc, with a deadline of a second."""
    script = (
        "import sys, exporter.cli as cli\ncli.MAX_COLLECTION_SECONDS = 1.0\nsys.exit(cli.main(sys.argv[1:]))"
    )
    return subprocess.run(
        [sys.executable, "-c", script, *flags, f"--path.procfs={proc.root}"],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


def test_once_prints_what_has_been_read_when_proc_hangs(proc: HungProc) -> None:
    result = run_hanging(proc, "--once")
    assert result.returncode == 0
    assert success(result.stdout) == {part: float(part == "limits") for part in success(result.stdout)}
    assert set(success(result.stdout)) >= {"states", "owners", "limits"}
    assert (value(result.stdout, "socket_host_states", state="listen") or 0) >= 1
    assert value(result.stdout, "socket_time_wait_limit") is not None
    assert "Collection timed out" in result.stderr
    assert "Traceback" not in result.stderr


def test_explain_prints_what_has_been_read_when_proc_hangs(proc: HungProc) -> None:
    result = run_hanging(proc, "explain")
    assert result.returncode == 2
    assert result.stdout.startswith(
        "The sockets were counted, but their processes could not be read in time."
    )
    assert re.search(r"LISTEN +[1-9]", result.stdout)
    assert "Could not be read: processes that own the sockets" in " ".join(result.stdout.split())
    assert "Collection timed out" in result.stderr
    assert "Traceback" not in result.stderr
