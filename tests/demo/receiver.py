"""Receiver of Alertmanager's webhooks, https://prometheus.io/docs/alerting/latest/configuration."""

from __future__ import annotations

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, NamedTuple, Self

from .ports import HOME


class Notice(NamedTuple):
    """One alert of a message."""

    when: float
    """In monotonic seconds."""
    path: str
    """Path that it was sent to: /pages or /tickets."""
    receiver: str
    status: str
    """firing or resolved"""
    labels: dict[str, str]
    annotations: dict[str, str]


class Receiver:
    """Listens on a port of 127.0.0.1 while entered, and records all notices in order."""

    def __init__(self, port: int) -> None:
        self.notices: list[Notice] = []
        self._server = ThreadingHTTPServer((HOME, port), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.1,), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        take = self._take

        class Handler(BaseHTTPRequestHandler):
            """Records each POST request."""

            # HTTP/1.1 keeps connections open: with 1.0 each message would leave a socket in TIME_WAIT.
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                take(self.path, json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Suppress request logging."""

        return Handler

    def _take(self, path: str, message: dict[str, Any]) -> None:
        now = time.monotonic()
        self.notices += [
            Notice(now, path, message["receiver"], one["status"], one["labels"], one["annotations"])
            for one in message["alerts"]
        ]
