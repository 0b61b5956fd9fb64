"""Webhook receiver that stands in for a pager and a ticket system: prints one line per alert.

Listens on one address, HOST:PORT, for https://prometheus.io/docs/alerting/latest/configuration/#webhook_config.
Requires only the standard library.
"""

from __future__ import annotations

import json
import signal
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import FrameType
from typing import Any, Final

PRINTED_ANNOTATIONS: Final = ("description", "runbook_url")


class Receiver(BaseHTTPRequestHandler):
    """Prints the alerts of each POST request."""

    # HTTP/1.1 keeps connections open: with 1.0 each notification would leave a socket in TIME_WAIT here.
    protocol_version = "HTTP/1.1"
    timeout = 600

    def do_POST(self) -> None:
        """Print the alerts and respond with 200; Alertmanager retries after other statuses."""
        try:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            lines = [format_alert(self.path, alert) for alert in body["alerts"]]
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
        """Suppress request logging: only alerts are printed."""


def format_alert(path: str, alert: dict[str, Any]) -> str:
    """Return receiver, status, name, severity and annotations of an alert in one line."""
    labels, annotations = alert["labels"], alert["annotations"]
    head = f"{path.strip('/')}: {alert['status']} {labels['alertname']} ({labels.get('severity', 'none')})"
    return " ".join((head, *(annotations[name] for name in PRINTED_ANNOTATIONS if name in annotations)))


def main(address: str) -> None:
    """Serve until SIGTERM or SIGINT."""
    host, _, port = address.rpartition(":")
    signal.signal(signal.SIGTERM, stop)
    with ThreadingHTTPServer((host, int(port)), Receiver) as server:
        print(f"waiting for alerts on {address}", flush=True)
        server.serve_forever()


def stop(_number: int, _frame: FrameType | None) -> None:
    """Exit on a signal. The kernel ignores signals to process 1 that have no handler."""
    sys.exit(0)


if __name__ == "__main__":
    main(sys.argv[1])
