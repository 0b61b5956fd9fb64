"""/proc is missing, hides processes, or fails: output, log, and recovery."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ..live.helpers import UNPRIVILEGED
from ..running import Exporter, running, samples, value
from .exporters import Client, failing, logged, scrapes_until_all_work, states
from .namespaces import can

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")

FAILS = "/proc/self/mem"
"""read() at offset 0 fails with EIO, because nothing is mapped there."""


needs_mounts = pytest.mark.skipif(
    not can("unshare", "--mount", "mount", "-t", "tmpfs", "none", "/proc"),
    reason="needs unshare (Debian package util-linux), root, and the right to mount",
)


def unowned(text: str) -> dict[str, float]:
    return {s.labels["reason"]: s.value for s in samples(text) if s.name == "socket_exporter_unowned_sockets"}


@contextmanager
def listening() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


@contextmanager
def mounted(exporter: Exporter, *arguments: str) -> Iterator[None]:
    """A mount over the exporter's /proc, visible only to it."""
    inside = ["nsenter", f"--mount=/proc/{exporter.process.pid}/ns/mnt"]
    subprocess.run([*inside, "mount", *arguments, "none", "/proc"], check=True)
    try:
        yield
    finally:
        subprocess.run([*inside, "umount", "/proc"], check=True)


@needs_mounts
def test_sockets_are_counted_without_proc_and_owners_recover(tmp_path: Path) -> None:
    with listening(), running(tmp_path / "log", through=["unshare", "--mount"]) as exporter:
        client = Client(exporter)
        before = client.scrape_after_first_collection()
        assert failing(before) == set()
        known = states(before, state="listen") - states(before, state="listen", process="unknown")
        assert known >= 2

        with mounted(exporter, "-t", "tmpfs"):
            for _ in range(3):
                text = client.scrape()
                assert failing(text) == {"limits", "owners"}
                assert states(text, state="listen") == value(text, "socket_host_states", state="listen") >= 2
                assert states(text, state="listen", process="unknown") == states(text, state="listen")
                assert unowned(text)["unreadable"] >= 2
                assert value(text, "socket_time_wait_limit") is None
        assert logged(exporter.log, "warn", "error") == {
            "Collector failed: limits": 1,
            "Collector failed: owners": 1,
        }

        after = scrapes_until_all_work(client)
        assert states(after, state="listen") - states(after, state="listen", process="unknown") >= 2
        ended = logged(exporter.log, "info")
        assert {ended[f"Collector recovered: {part}"] for part in ("limits", "owners")} == {1}


@needs_mounts
def test_hidden_processes_are_reported_until_visible(tmp_path: Path) -> None:
    as_nobody = ["unshare", "--mount", *UNPRIVILEGED]
    with listening(), running(tmp_path / "log", through=as_nobody) as exporter:
        client = Client(exporter)
        assert unowned(client.scrape())["unreadable"] >= 1

        with mounted(exporter, "-t", "proc", "-o", "hidepid=2"), listening():
            text = client.scrape()
            assert failing(text) == set()
            assert unowned(text)["hidden"] >= 2
            assert unowned(text)["unreadable"] == 0
            # Its own are seen.
            assert states(text, state="listen", process="unknown") < states(text, state="listen")

        with listening():
            text = client.scrape()
        assert unowned(text)["unreadable"] >= 2
        assert unowned(text)["hidden"] == 0
        assert logged(exporter.log, "warn", "error") == {}


@needs_mounts
@pytest.mark.parametrize("over_proc", [True, False])
def test_counters_are_read_from_proc_without_sysctls(tmp_path: Path, over_proc: bool) -> None:
    root = Path("/proc") if over_proc else tmp_path / "proc"
    root.mkdir(exist_ok=True)
    mount = f'mount -t proc -o subset=pid proc {root} && exec "$@"'
    through = ["unshare", "--mount", "sh", "-c", mount, "sh"]
    with listening(), running(tmp_path / "log", f"--path.procfs={root}", through=through) as exporter:
        client = Client(exporter)
        for scrape in (client.scrape_after_first_collection, client.scrape):
            text = scrape()
            assert failing(text) == {"limits"}
            assert value(text, "socket_kernel_listen_drops_total") is not None
            assert value(text, "socket_kernel_aborts_total", reason="close") is not None
            assert value(text, "socket_orphans") is not None
            assert value(text, "socket_time_wait_limit") is None
            assert states(text, state="listen") - states(text, state="listen", process="unknown") >= 2
        assert logged(exporter.log, "warn", "error") == {"Collector failed: limits": 1}


class Failing:
    """A /proc with some entries of the real one, in which files can fail with EIO."""

    def __init__(self, root: Path, *shown: str) -> None:
        self._root = root
        for name in ("stat", "self", "sys", *shown):
            self.fix(name)

    def fix(self, name: str) -> None:
        """Show the real entry."""
        self._put(name, f"/proc/{name}")

    def fail(self, name: str) -> None:
        self._put(name, FAILS)

    def _put(self, name: str, target: str) -> None:
        link = self._root / name
        link.parent.mkdir(parents=True, exist_ok=True)
        assert link.parent.resolve().is_relative_to(self._root.resolve())
        link.unlink(missing_ok=True)
        link.symlink_to(target)


@pytest.fixture
def holder() -> Iterator[tuple[int, int]]:
    """Run a process with a listening socket; yield its pid and port."""
    program = """
import socket, sys
with socket.create_server(("127.0.0.1", 0)) as listener:
    print(listener.getsockname()[1], flush=True)
    sys.stdin.read()
"""
    with subprocess.Popen(
        [sys.executable, "-IS", "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin
        assert process.stdout
        yield process.pid, int(process.stdout.readline())
        process.stdin.close()


def accepts(text: str, port: int) -> str:
    """Return the process of the listener on that port."""
    (process,) = (
        s.labels["process"]
        for s in samples(text)
        if s.name == "socket_listener_accept_queue_limit" and s.labels["local_port"] == str(port)
    )
    return process


def test_unreadable_process_does_not_hide_others(tmp_path: Path, holder: tuple[int, int]) -> None:
    pid, port = holder
    root = tmp_path / "proc"
    directories = (f"{pid}/{name}" for name in ("fd", "limits", "ns"))
    proc = Failing(root, "thread-self", str(os.getpid()), *directories)
    proc.fail(f"{pid}/stat")
    with listening() as ours, running(tmp_path / "log", f"--path.procfs={root}") as exporter:
        client = Client(exporter)
        text = client.scrape()
        assert accepts(text, port) == "unknown"
        assert accepts(text, ours.getsockname()[1]) != "unknown"
        assert failing(text) == set()
        assert value(text, "socket_exporter_unreadable_processes", reason="error") == 1
        assert logged(exporter.log, "warn", "error") == {}


def test_unreadable_limit_does_not_affect_other_limits(tmp_path: Path) -> None:
    root = tmp_path / "proc"
    proc = Failing(root, str(os.getpid()), "thread-self/net/sockstat")
    proc.fail("thread-self/net/netstat")
    with running(tmp_path / "log", f"--path.procfs={root}") as exporter:
        client = Client(exporter)
        for _ in range(3):
            text = client.scrape()
            assert failing(text) == {"limits"}
            assert value(text, "socket_orphans") is not None
            assert value(text, "socket_time_wait_limit") is not None
            assert value(text, "socket_kernel_listen_drops_total") is None
        (line,) = (line for line in exporter.log.read_text().splitlines() if "level=warn" in line)
        assert "Input/output error" in line
        assert "thread-self/net/netstat" in line

        proc.fix("thread-self/net/netstat")
        assert value(client.scrape(), "socket_kernel_listen_drops_total") is not None
        assert logged(exporter.log, "info")["Collector recovered: limits"] == 1


def test_odd_lines_of_netstat_do_not_affect_other_counters(tmp_path: Path) -> None:
    root = tmp_path / "proc"
    proc = Failing(root, str(os.getpid()), "thread-self/net/sockstat")
    real = Path("/proc/thread-self/net/netstat").read_text(encoding="ascii")
    netstat = root / "thread-self/net/netstat"
    netstat.write_text(f"MPTcpExt: MPCapableSYNRX MPCapableSYNTX\n{real}", encoding="ascii")
    with running(tmp_path / "log", f"--path.procfs={root}") as exporter:
        client = Client(exporter)
        text = client.scrape()
        assert failing(text) == {"limits"}
        assert value(text, "socket_kernel_listen_drops_total") is not None
        assert value(text, "socket_orphans") is not None
        (line,) = (line for line in exporter.log.read_text().splitlines() if "level=warn" in line)
        assert "thread-self/net/netstat" in line
        assert "MPTcpExt" in line

        proc.fix("thread-self/net/netstat")
        assert failing(client.scrape()) == set()
