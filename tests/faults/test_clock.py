"""Wall clock changes: measurements, caches and timeouts do not depend on it."""

from __future__ import annotations

import ast
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

import exporter
from exporter.cli import build_tracker
from exporter.config.exporter_config import Config
from exporter.flags import build_parser
from exporter.model.process import ProcessId
from exporter.model.snapshot import Snapshot
from exporter.system import build_host_readers, choose_source

from ..running import until
from .namespaces import can

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")

PACKAGE = Path(exporter.__file__).parent

SAYS_WHEN = {"reload.py", "collection/cache.py", "windows/iphlpapi_source.py"}
"""Modules that may read the wall clock: for timestamps shown to users or exported, and to compare with the
creation times of connections, which Windows takes from that clock."""


def asks_for_the_time_of_day(path: Path) -> bool:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Attribute):
            owner = node.value.id if isinstance(node.value, ast.Name) else ""
            if (owner, node.attr) in {("time", "time"), ("time", "time_ns"), ("datetime", "now")}:
                return True
    return False


def test_wall_clock_is_read_only_for_timestamps() -> None:
    """Ages, timeouts and intervals use the monotonic clock."""
    asking = {
        path.relative_to(PACKAGE).as_posix()
        for path in PACKAGE.rglob("*.py")
        if asks_for_the_time_of_day(path)
    }
    assert asking == SAYS_WHEN


def ages(seen: Snapshot, port: int) -> list[float]:
    return [
        stuck.age_seconds for stuck in seen.close_wait or () if stuck.close_wait.socket.local_port == port
    ]


def holders(seen: Snapshot, port: int) -> set[int]:
    return {
        owner.pid
        for listener, owner in seen.listeners or ()
        if listener.local_port == port and isinstance(owner, ProcessId)
    }


@pytest.mark.parametrize("jump", [10 * 365 * 86_400.0, -10 * 365 * 86_400.0], ids=["ahead", "back"])
def test_clock_jump_does_not_change_ages_and_owners(monkeypatch: pytest.MonkeyPatch, jump: float) -> None:
    observer = build_tracker(
        build_parser().parse_args([]), Config(), choose_source("netlink"), build_host_readers(Path("/proc"))
    )
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        socket.create_connection(listener.getsockname()) as client,
        listener.accept()[0],
    ):
        port = listener.getsockname()[1]
        started = time.monotonic()
        client.shutdown(socket.SHUT_WR)
        for _ in until("the connection is in CLOSE_WAIT"):
            before = observer.snapshot()
            if ages(before, port):
                break
        (age,) = ages(before, port)

        now = time.time
        monkeypatch.setattr(time, "time", lambda: now() + jump)
        monkeypatch.setattr(time, "time_ns", lambda: int((now() + jump) * 1e9))

        after = observer.snapshot()
        (later,) = ages(after, port)
        # Kernels count the age in steps of up to 10 ms.
        assert -0.05 <= later - age <= time.monotonic() - started + 0.1
        assert holders(after, port) == holders(before, port) != set()
        assert after.failed == before.failed == frozenset()
        assert all(0 <= seconds < 60 for seconds in after.durations.values())


OWN_CLOCK = ("unshare", "--time", "--boottime=100000", "--monotonic=100000", "--fork")


@pytest.mark.skipif(
    not can(*OWN_CLOCK, "true"),
    reason="needs unshare (Debian package util-linux), root, and time namespaces (Linux 5.6)",
)
def test_owners_are_known_in_a_time_namespace(tmp_path: Path) -> None:
    """The start times in /proc use the clock of the time namespace too."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        once = [*OWN_CLOCK, sys.executable, "-m", "exporter", "--once"]
        done = subprocess.run(once, check=True, capture_output=True, text=True, cwd=tmp_path, timeout=60)
        port = listener.getsockname()[1]
    (line,) = (
        line
        for line in done.stdout.splitlines()
        if line.startswith("socket_listener_accept_queue_limit") and f'local_port="{port}"' in line
    )
    assert 'process="unknown"' not in line
