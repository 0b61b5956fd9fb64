"""Clients of an exporter, inside the network namespace of Windows."""

from __future__ import annotations

import re
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from typing import Final

from .windows import Windows, stop

_START_SECONDS: Final = 30.0
_CLOSE_SECONDS: Final = 5.0


def fetch(port: int, path: str = "/metrics") -> str:
    """Return a response. To be called inside the namespace.

    The connection is kept alive, and so closed by the client first, which gets the TIME_WAIT.
    """
    connection = HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request("GET", path)
    body = connection.getresponse().read()
    connection.close()
    return body.decode()


def fetch_when_ready(windows: Windows, port: int, path: str = "/metrics") -> str:
    """Return a response, by default the metrics, as soon as the exporter serves on this port."""
    deadline = time.monotonic() + _START_SECONDS
    while True:
        try:
            return windows.namespace.call(fetch, port, path)
        except RuntimeError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.3)


def states(windows: Windows, port: int) -> list[str]:
    """Return the states of the sockets on this local port, as `ss` prints them.

    Waits a while for connections to close: the server notices only later that the client has.
    """
    deadline = time.monotonic() + _CLOSE_SECONDS
    while True:
        rows = windows.namespace.run(["ss", "-Htan", f"sport = :{port}"]).stdout
        found = [row.split()[0] for row in rows.splitlines()]
        if set(found) <= {"LISTEN", "TIME-WAIT"} or time.monotonic() > deadline:
            return found
        time.sleep(0.1)


def send_and_wait(port: int, data: bytes) -> bytes:
    """Send bytes, and return what is received until the server closes. To be called inside the namespace."""
    with socket.create_connection(("127.0.0.1", port), timeout=25) as client:
        client.sendall(data)
        return read_to_end(client)


def read_to_end(client: socket.socket) -> bytes:
    """Return what is received until the server closes, with RESET at the end if it resets the connection."""
    received = bytearray()
    try:
        while chunk := client.recv(65536):
            received += chunk
    except ConnectionResetError:
        received += b"RESET"
    return bytes(received)


def ends_of_cut_connections(port: int) -> dict[str, bytes]:
    """Return reason -> what a client receives, of a server with two connections at most.

    Only the status line of a response is kept. To be called inside the namespace.
    """
    address = ("127.0.0.1", port)
    first, second, third = (socket.create_connection(address, timeout=10) for _ in range(3))
    ends = {"evicted": read_to_end(first), "request timeout": read_to_end(second)}
    read_to_end(third)
    with socket.create_connection(address, timeout=10) as client:
        head = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 2000000\r\n\r\n"
        client.sendall(head + bytes(1_100_000))
        received = read_to_end(client)
    ends["body too large"] = received[:12] + received[-5:]
    for client in (first, second, third):
        client.close()
    return ends


def read_and_close(port: int) -> None:
    """Request the metrics, and close first. To be called inside the namespace."""
    with socket.create_connection(("127.0.0.1", port), timeout=25) as client:
        client.sendall(b"GET /-/healthy HTTP/1.1\r\nhost: x\r\n\r\n")
        client.recv(65536)


@contextmanager
def serving(windows: Windows, port: int, *flags: str) -> Iterator[subprocess.Popen[bytes]]:
    """Yield the process of an exporter that serves on this port; its output is a pipe."""
    address = f"--web.listen-address=127.0.0.1:{port}"
    process = windows.popen_python("-m", "exporter", address, *flags)
    try:
        fetch_when_ready(windows, port)
        yield process
    finally:
        stop(process)


def metric(text: str, name: str) -> float:
    """Return the value of a metric without labels."""
    found = re.search(rf"^{name} (\S+)$", text, re.MULTILINE)
    assert found, f"{name} is missing"
    return float(found[1])
