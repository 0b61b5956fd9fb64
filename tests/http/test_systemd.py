"""systemd's protocols: real datagrams, and descriptors passed to a real process."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from exporter.http import systemd

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no systemd")

PROGRAM = """
import os, sys
from exporter.http import systemd
if sys.argv[1] == "own":
    os.environ["LISTEN_PID"] = str(os.getpid())
try:
    listeners = systemd.inherited_sockets()
except OSError as error:
    sys.exit(str(error))
print(*(listener.getsockname()[1] for listener in listeners))
print(*(os.get_inheritable(listener.fileno()) for listener in listeners))
print(*(name for name in os.environ if name.startswith("LISTEN")))
"""


def run_with_sockets(
    sockets: list[socket.socket], listen_pid: str = "own", number: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run a program that inherits these sockets as from systemd: from descriptor 3 on."""

    def move_to_3() -> None:
        for index, fd in enumerate(copies):
            os.dup2(fd, 3 + index, inheritable=True)

    # First to high numbers, so that they do not overwrite each other.
    copies = [os.dup(sock.fileno()) for sock in sockets]
    high = [os.dup2(fd, 100 + fd) for fd in copies]
    copies[:] = high
    environment = {
        **os.environ,
        "LISTEN_FDS": number or str(len(sockets)),
        "LISTEN_PID": "1",
        "LISTEN_FDNAMES": "x",
    }
    try:
        return subprocess.run(
            [sys.executable, "-c", PROGRAM, listen_pid],
            env=environment,
            preexec_fn=move_to_3,  # safe: this process has one thread
            close_fds=False,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
    finally:
        for fd in high:
            os.close(fd)


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


def test_inherited_sockets_are_returned(listener: socket.socket) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        result = run_with_sockets([listener, other])
        ports = f"{listener.getsockname()[1]} {other.getsockname()[1]}"
    assert result.stderr == ""
    assert result.stdout.splitlines() == [ports, "False False", ""]


@pytest.mark.parametrize(
    ("listen_pid", "number"), [("foreign", "1"), ("own", "0"), ("own", "many"), ("own", "-1")]
)
def test_no_inherited_socket_is_an_error(listener: socket.socket, listen_pid: str, number: str) -> None:
    result = run_with_sockets([listener], listen_pid, number)
    assert result.returncode == 1
    assert "systemd has passed no sockets" in result.stderr


def test_socket_that_does_not_listen_is_an_error() -> None:
    with socket.socket() as idle:
        result = run_with_sockets([idle])
    assert "systemd passed file descriptor 3, which is not a listening socket" in result.stderr


def test_closed_file_descriptor_is_an_error(listener: socket.socket) -> None:
    assert "systemd passed file descriptor 9" in run_with_sockets([listener] * 6, number="7").stderr


@pytest.fixture(params=["path", "abstract"])
def manager(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[socket.socket]:
    """Yield a datagram socket in the role of systemd, named by NOTIFY_SOCKET."""
    if request.param == "abstract" and sys.platform != "linux":
        pytest.skip("needs Linux' abstract names")
    name = str(tmp_path / "notify") if request.param == "path" else f"@exporter-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(name.replace("@", "\0", 1))
        manager.settimeout(20)
        monkeypatch.setenv("NOTIFY_SOCKET", name)
        yield manager


def test_ready_and_stopping_notifications(manager: socket.socket) -> None:
    systemd.notify_ready()
    assert manager.recv(1024) == b"READY=1"
    systemd.notify_stopping()
    assert manager.recv(1024) == b"STOPPING=1"


def test_reload_notifications(manager: socket.socket) -> None:
    started = time.monotonic_ns() // 1000
    with systemd.notify_reloading():
        state, moment = manager.recv(1024).split(b"\n")
        assert state == b"RELOADING=1"
        name, _, microseconds = moment.partition(b"=")
        assert name == b"MONOTONIC_USEC"
        assert started <= int(microseconds) <= time.monotonic_ns() // 1000
        manager.setblocking(False)
        with pytest.raises(BlockingIOError):
            manager.recv(1024)
    manager.settimeout(20)
    assert manager.recv(1024) == b"READY=1"


@pytest.mark.parametrize("name", [None, "", "/no/such/socket", "vsock:2:1"])
def test_missing_notify_socket_is_ignored(name: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    if name is not None:
        monkeypatch.setenv("NOTIFY_SOCKET", name)
    systemd.notify_ready()
