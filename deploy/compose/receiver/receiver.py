"""Stands for a pager and a ticket system: prints what Alertmanager tells them, a line for each alert.

Takes webhooks (https://prometheus.io/docs/alerting/latest/configuration/#webhook_config) on one address,
HOST:PORT. Needs nothing but Python.
"""

from __future__ import annotations

import json
import signal
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import FrameType
from typing import Any, Final

TOLD: Final = ("description", "runbook_url")


class Receiver(BaseHTTPRequestHandler):
    """Prints what is posted."""

    # Connections are kept open, or each message would leave one in TIME_WAIT here.
    protocol_version = "HTTP/1.1"
    timeout = 600

    def do_POST(self) -> None:
        """Alertmanager tries again what is not answered with 200."""
        try:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            lines = [line(self.path, alert) for alert in body["alerts"]]
        except (KeyError, TypeError, ValueError):
            self._answer(400)
            return
        print(*lines, sep="\n", flush=True)
        self._answer(200)

    def _answer(self, status: int) -> None:
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Says nothing of requests: the alerts are what is to be read."""


def line(path: str, alert: dict[str, Any]) -> str:
    """Whom it goes to, whether it begins or ends, what it is, and what the rule has to say of it."""
    labels, annotations = alert["labels"], alert["annotations"]
    head = f"{path.strip('/')}: {alert['status']} {labels['alertname']} ({labels.get('severity', 'none')})"
    return " ".join((head, *(annotations[name] for name in TOLD if name in annotations)))


def main(address: str) -> None:
    """Listens until SIGTERM or SIGINT."""
    host, _, port = address.rpartition(":")
    signal.signal(signal.SIGTERM, stop)
    with ThreadingHTTPServer((host, int(port)), Receiver) as server:
        print(f"waiting for alerts on {address}", flush=True)
        server.serve_forever()


def stop(_number: int, _frame: FrameType | None) -> None:
    """As process 1 it would not hear a signal that it does not ask for."""
    sys.exit(0)


if __name__ == "__main__":
    main(sys.argv[1])
