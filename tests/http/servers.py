"""A server in a separate process, and clients of it."""

from __future__ import annotations

import http.client
import json
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import psutil
import pytest

from exporter.http.server import parse_listen_address

from ..systems import is_wine

T = TypeVar("T")

# A server with one collector that waits while the file `gate` exists and fails while `broken` does, and with
# pages that return the request, fail, and return whether TCP_NODELAY is set on each connection.
PROGRAM = """
import json, os, socket, sys, time
import psutil
from pathlib import Path
from prometheus_client.core import GaugeMetricFamily
from exporter.log import configure_logging
from exporter.http.app import App
from exporter.http.middleware import WebConfig
from exporter.http.scrape import ScrapeCoalescer
from exporter.http.limits import ServerLimits
from exporter.http.messages import Response
from exporter.http.connection import format_socket_address
from exporter.http.server import listen, serve

folder, addresses, limits = Path(sys.argv[1]), json.loads(sys.argv[2]), json.loads(sys.argv[3])

class Tiny:
    collections = 0

    def collect(self):
        self.collections += 1
        (folder / "collecting").touch()
        while (folder / "gate").exists():
            time.sleep(0.01)
        if (folder / "broken").exists():
            raise RuntimeError("secret")
        yield GaugeMetricFamily("tiny_collections", "Collections begun.", value=self.collections)
        yield GaugeMetricFamily("tiny_weight", "x" * int((folder / "weight").read_text()), value=1)

configure_logging("info", "logfmt")
def listener(address):
    if not address.startswith("/"):
        return listen(address)
    unix_listener = socket.socket(socket.AF_UNIX)
    unix_listener.bind(address)
    unix_listener.listen()
    return unix_listener

def no_delay(fd):
    with socket.socket(fileno=os.dup(fd)) as connection:
        return connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0

async def handler(request):
    if request.path == "/echo":
        return Response(200, json.dumps(request).encode())
    if request.path == "/bug":
        raise RuntimeError("secret")
    if request.path == "/no-delay":
        connections = psutil.Process().net_connections("tcp")
        return Response(200, repr([no_delay(row.fd) for row in connections if row.raddr]).encode())
    return await app(request)

listeners = [listener(address) for address in addresses]
print(json.dumps([format_socket_address(listener.getsockname()) for listener in listeners]), flush=True)
web = WebConfig.from_file(str(folder / "web.yml") if (folder / "web.yml").exists() else None)
app = App(ScrapeCoalescer(Tiny()), title="Tiny")
serve(handler, listeners, ServerLimits(**limits), tls=lambda: web.tls)
"""


class Running:
    """A server in a separate process."""

    def __init__(self, folder: Path, addresses: list[str], limits: dict[str, float]) -> None:
        self.folder = folder
        (folder / "weight").write_text("10")
        command = [sys.executable, "-c", PROGRAM, str(folder), json.dumps(addresses), json.dumps(limits)]
        with (folder / "log").open("wb") as log:
            self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log)
        assert self.process.stdout
        with self.process.stdout as stdout:
            self.addresses: list[str] = json.loads(stdout.readline())
        self.ports = [parse_listen_address(address)[1] for address in self.addresses if ":" in address]

    def connect(self, host: str = "127.0.0.1") -> socket.socket:
        return socket.create_connection((host, self.ports[0]), timeout=20)

    def client(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.ports[0], timeout=20)

    def log(self) -> str:
        return (self.folder / "log").read_text()

    def hold(self) -> None:
        """Let collections wait until release()."""
        (self.folder / "gate").touch()

    def release(self) -> None:
        (self.folder / "gate").unlink(missing_ok=True)

    def stop(self) -> int:
        self.release()
        self.process.terminate()
        return self.process.wait(20)


Start = Callable[..., Running]


def until(condition: Callable[[], T | None], what: str) -> T:
    """Poll until the condition is true, and return its result."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if result := condition():
            return result
        time.sleep(0.01)
    pytest.fail(f"not within 20 s: {what}")


def send_request(
    client: http.client.HTTPConnection, path: str = "/metrics", method: str = "GET", **headers: str
) -> tuple[http.client.HTTPResponse, bytes]:
    client.request(method, path, headers={name.replace("_", "-"): value for name, value in headers.items()})
    response = client.getresponse()
    return response, response.read()


def request(path: str = "/metrics", **headers: str) -> bytes:
    lines = [f"GET {path} HTTP/1.1", "Host: x", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode()


def read_response(connection: socket.socket) -> tuple[int, bytes]:
    """Read one response. Return its status and body."""
    response = http.client.HTTPResponse(connection)
    response.begin()
    return response.status, response.read()


def is_reset(connection: socket.socket) -> bool:
    """Wait until the server closes the connection. Return whether it reset it."""
    try:
        while connection.recv(4096):
            pass
    except ConnectionResetError:
        return True
    return is_wine() and _is_reset_after_fin(connection)


def _is_reset_after_fin(connection: socket.socket) -> bool:
    """Return whether a RST follows the FIN: Wine shuts down any socket before it closes it."""
    time.sleep(0.1)
    try:
        # After a FIN alone the first byte could still be sent.
        connection.sendall(b"x")
    except ConnectionResetError:
        return True
    return False


def is_evicted(running: Running) -> bool:
    """Connect. Return whether the connection was reset, if need be before connect() returned."""
    try:
        with running.connect() as connection:
            return is_reset(connection)
    except ConnectionResetError:
        return True


def is_refused(running: Running) -> bool:
    try:
        running.connect().close()
    except ConnectionError:
        return True
    return False


def time_waits(port: int) -> int:
    """Return the number of sockets in TIME_WAIT on this local port."""
    rows = (row for row in psutil.net_connections("tcp") if row.status == psutil.CONN_TIME_WAIT)
    return sum(getattr(row.laddr, "port", None) == port for row in rows)


def collections(body: bytes) -> int:
    match = re.search(rb"^tiny_collections (\d+)", body, re.MULTILINE)
    assert match
    return int(match[1])
