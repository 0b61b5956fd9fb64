"""Slow clients as a separate program: `python -m tests.abuse.idlers PORT NUMBER [AUTHORITY]`.

Prints, when all have been cut off, the seconds that each lasted, as JSON. With the file of an authority it
takes the port to speak TLS. Threads and plain sockets: asyncio's TLS clients overlook now and then that they
were cut off.
"""

from __future__ import annotations

import contextlib
import json
import resource
import socket
import ssl
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Final

HALF: Final = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n"
HALF_HELLO: Final = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"
PATIENCE: Final = 40.0
"""Seconds after which an idle client gives up: it was not disconnected."""


class Idlers:
    """Slow clients of three kinds, until they are disconnected."""

    def __init__(self, port: int, context: ssl.SSLContext | None) -> None:
        self._port = port
        self._context = context

    def lasted(self, number: int) -> float:
        """Return the seconds from connect to disconnect."""
        kinds = (self._silent, self._half, self._trickle)
        began = time.monotonic()
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self._port), 10) as raw:
            kinds[number % 3](raw)
        return time.monotonic() - began

    def _silent(self, raw: socket.socket) -> None:
        """Connect and send nothing; with TLS, no ClientHello."""
        _wait_for_the_end(raw)

    def _half(self, raw: socket.socket) -> None:
        connection = self._context.wrap_socket(raw, server_hostname="localhost") if self._context else raw
        connection.sendall(HALF)
        _wait_for_the_end(connection)

    def _trickle(self, raw: socket.socket) -> None:
        """Send one byte per second; with TLS, of the ClientHello."""
        raw.sendall(HALF_HELLO if self._context else HALF + b"X-Slow: ")
        raw.settimeout(1)
        while True:
            raw.sendall(b"x")
            with contextlib.suppress(TimeoutError):
                if not raw.recv(4096):
                    return


def _wait_for_the_end(connection: socket.socket) -> None:
    connection.settimeout(PATIENCE)
    while connection.recv(4096):
        pass


def main(port: str, number: str, authority: str = "") -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    threading.stack_size(262_144)
    context = ssl.create_default_context(cafile=authority) if authority else None
    with ThreadPoolExecutor(int(number)) as threads:
        print(json.dumps(list(threads.map(Idlers(int(port), context).lasted, range(int(number))))))


if __name__ == "__main__":
    main(*sys.argv[1:])
