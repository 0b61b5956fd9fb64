"""The exporter under test: its address and its state."""

from __future__ import annotations

import base64
import http.client
import re
import socket
import ssl
import time
from collections import Counter
from pathlib import Path
from typing import Final

import psutil

from ..running import Exporter

USER: Final = "prometheus"
PASSWORD: Final = "secret"  # noqa: S105  # a test's
CREDENTIALS: Final = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()


class Target:
    """Address of the exporter. authority: CA file if it uses TLS."""

    def __init__(self, exporter: Exporter, authority: Path | None) -> None:
        self.port = int(exporter.url.rpartition(":")[2])
        self.authority = authority
        self.context = ssl.create_default_context(cafile=str(authority)) if authority else None
        self._log = exporter.log
        self._process = psutil.Process(exporter.process.pid)

    def connect(self) -> socket.socket:
        """Return a connection without sending anything."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=60)

    def agree(self, connection: socket.socket) -> socket.socket:
        """Return the connection, wrapped in TLS if the exporter uses it."""
        if self.context is None:
            return connection
        return self.context.wrap_socket(connection, server_hostname="localhost")

    def client(self) -> http.client.HTTPConnection:
        if self.context is None:
            return http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        return http.client.HTTPSConnection("localhost", self.port, timeout=60, context=self.context)

    def scrape(self, client: http.client.HTTPConnection | None = None) -> float:
        """Scrape and return the seconds it took, including the connect of a new connection."""
        began = time.perf_counter()
        asking = client or self.client()
        asking.request("GET", "/metrics", headers={"Authorization": CREDENTIALS})
        answer = asking.getresponse()
        body = answer.read()
        took = time.perf_counter() - began
        assert (answer.status, body[:7]) == (200, b"# HELP ")
        if client is None:
            asking.close()
        return took

    def memory(self) -> float:
        """Return resident memory in MiB."""
        return self._process.memory_info().rss / 2**20

    def descriptors(self) -> int:
        return self._process.num_fds()

    def own_sockets(self) -> Counter[str]:
        """Return the server-side sockets on its port by state, without listeners."""
        connections = (each for each in psutil.net_connections("tcp") if each.status != psutil.CONN_LISTEN)
        return Counter(each.status for each in connections if getattr(each.laddr, "port", 0) == self.port)

    def complaints(self) -> list[str]:
        """Return log lines above level info."""
        return [line for line in self._log.read_text().splitlines() if not re.search(r" level=info ", line)]
