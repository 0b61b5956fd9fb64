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
if sys.argv[1] == "mine":
    os.environ["LISTEN_PID"] = str(os.getpid())
try:
    listeners = systemd.inherited_sockets()
except OSError as error:
    sys.exit(str(error))
print(*(each.getsockname()[1] for each in listeners))
print(*(os.get_inheritable(each.fileno()) for each in listeners))
print(*(name for name in os.environ if name.startswith("LISTEN")))
"""


def passed(
    sockets: list[socket.socket], whose: str = "mine", number: str = ""
) -> subprocess.CompletedProcess[str]:
    """Runs a program that is given these sockets as systemd does: from descriptor 3 on."""

    def place() -> None:
        for place, each in enumerate(copies):
            os.dup2(each, systemd.SD_LISTEN_FDS_START + place, inheritable=True)

    # Out of the way of each other first.
    copies = [os.dup(each.fileno()) for each in sockets]
    high = [os.dup2(each, 100 + each) for each in copies]
    copies[:] = high
    environment = {
        **os.environ,
        "LISTEN_FDS": number or str(len(sockets)),
        "LISTEN_PID": "1",
        "LISTEN_FDNAMES": "x",
    }
    try:
        return subprocess.run(
            [sys.executable, "-c", PROGRAM, whose],
            env=environment,
            preexec_fn=place,  # no threads here
            close_fds=False,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
    finally:
        for each in high:
            os.close(each)


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


def test_inherited_sockets_are_returned(listener: socket.socket) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        told = passed([listener, other])
        ports = f"{listener.getsockname()[1]} {other.getsockname()[1]}"
    assert told.stderr == ""
    assert told.stdout.splitlines() == [ports, "False False", ""]


@pytest.mark.parametrize(
    ("whose", "number"), [("another's", "1"), ("mine", "0"), ("mine", "many"), ("mine", "-1")]
)
def test_no_inherited_socket_is_an_error(listener: socket.socket, whose: str, number: str) -> None:
    told = passed([listener], whose, number)
    assert told.returncode == 1
    assert "systemd has passed no sockets" in told.stderr


def test_socket_that_does_not_listen_is_an_error() -> None:
    with socket.socket() as idle:
        told = passed([idle])
    assert "systemd passed file descriptor 3, which is not a listening socket" in told.stderr


def test_closed_file_descriptor_is_an_error(listener: socket.socket) -> None:
    assert "systemd passed file descriptor 9" in passed([listener] * 6, number="7").stderr


@pytest.fixture(params=["path", "abstract"])
def manager(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[socket.socket]:
    """Stands in for systemd: a datagram socket that NOTIFY_SOCKET names."""
    if request.param == "abstract" and sys.platform != "linux":
        pytest.skip("needs Linux' abstract names")
    name = str(tmp_path / "notify") if request.param == "path" else f"@exporter-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(name.replace("@", "\0", 1))
        manager.settimeout(20)
        monkeypatch.setenv("NOTIFY_SOCKET", name)
        yield manager


def test_ready_and_stopping_notifications(manager: socket.socket) -> None:
    systemd.ready()
    assert manager.recv(1024) == b"READY=1"
    systemd.stopping()
    assert manager.recv(1024) == b"STOPPING=1"


def test_reload_notifications(manager: socket.socket) -> None:
    before = time.monotonic_ns() // 1000
    with systemd.reloading():
        state, moment = manager.recv(1024).split(b"\n")
        assert state == b"RELOADING=1"
        name, _, microseconds = moment.partition(b"=")
        assert name == b"MONOTONIC_USEC"
        assert before <= int(microseconds) <= time.monotonic_ns() // 1000
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
    systemd.ready()
