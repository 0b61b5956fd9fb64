"""What the exporter answers over HTTP, as a plain ASGI application: metrics, health, status page.

Knows no sockets: any ASGI server or test can call it, and authentication or rate limits wrap around it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qs

from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.registry import Collector

from . import page
from .shared import OPEN_METRICS_VERSION, Form, Ready, SharedWork

Scope = Mapping[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
AsgiApplication = Callable[[Scope, Receive, Send], Awaitable[None]]

_OPEN_METRICS: Final = f"application/openmetrics-text; version={OPEN_METRICS_VERSION}; charset=utf-8"
_HTML: Final = "text/html; charset=utf-8"

_LONGEST_WAIT: Final = 60.0
"""Seconds. Those in no hurry, and those who have long gone away, must not gather while something hangs."""


class Reply(NamedTuple):
    """A whole answer to a request; `headers` are those beside its type and length."""

    status: int
    body: bytes
    content_type: str = "text/plain; charset=utf-8"
    headers: tuple[tuple[bytes, bytes], ...] = ()


class Application:
    """The ASGI application: the metrics at `telemetry_path`, `/`, `/-/healthy` and `/-/ready`.

    status: makes the page at `/`, a whole HTML document, in the thread that also collects. Without it,
    there is a page of links with `title` and `description`, plain text. Either gives way where the
    telemetry path is `/`. ready: what there is for scrapes that cannot wait for the collection (see
    shared.Ready); without it, those are answered 503. Raises ValueError for a telemetry path that is not
    absolute or hides a health page.
    """

    def __init__(
        self,
        registry: Collector,
        *,
        telemetry_path: str = "/metrics",
        title: str,
        description: str = "",
        status: Callable[[], str] | None = None,
        ready: Ready | None = None,
    ) -> None:
        if not telemetry_path.startswith("/") or telemetry_path.startswith("/-/"):
            raise ValueError(f"telemetry path {telemetry_path!r} must begin with / and not with /-/")
        self._shared = SharedWork(registry, ready)
        self._telemetry_path = telemetry_path
        self._status = status
        self._pages = {
            "/": _page(page.landing(title, description, telemetry_path).encode()),
            "/-/healthy": Reply(200, f"{title} is healthy.\n".encode()),
            "/-/ready": Reply(200, f"{title} is ready.\n".encode()),
        }

    async def __call__(self, scope: Scope, _receive: Receive, send: Send) -> None:
        reply = await self._reply(scope)
        headers = [
            (b"content-type", reply.content_type.encode()),
            (b"content-length", str(len(reply.body)).encode()),
            *reply.headers,
        ]
        await send({"type": "http.response.start", "status": reply.status, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else reply.body})

    async def _reply(self, scope: Scope) -> Reply:
        path = scope["path"]
        if path != self._telemetry_path and path not in self._pages:
            return Reply(404, b"not found\n")
        if scope["method"] not in ("GET", "HEAD"):
            return Reply(405, b"method not allowed\n", headers=((b"allow", b"GET, HEAD"),))
        if path == self._telemetry_path:
            return await self._metrics(scope)
        if path == "/" and self._status:
            return await self._front(self._status)
        return self._pages[path]

    async def _front(self, status: Callable[[], str]) -> Reply:
        made = self._shared.page(status)
        await asyncio.wait([made], timeout=_LONGEST_WAIT)
        if not made.done():
            return Reply(503, b"the page takes too long to make\n")
        if made.exception():
            return Reply(500, b"the page could not be made: see the log of the exporter\n")
        return _page(made.result())

    async def _metrics(self, scope: Scope) -> Reply:
        headers = _joined(scope["headers"])
        query = parse_qs(scope["query_string"].decode("latin-1"))
        form = Form(
            open_metrics=_wants_open_metrics(headers.get("accept", "")),
            gzipped=_wants_gzip(headers.get("accept-encoding", "")),
            names=frozenset(query.get("name[]", ())),
        )
        asked_at = time.monotonic()
        whole = self._shared.body(form)
        # Waits without owning: a scraper that gives up must not cancel what others wait for.
        await asyncio.wait([whole], timeout=_patience(headers))
        body = whole if whole.done() else self._shared.late(form, asked_at)
        if body is None:
            return Reply(503, b"the collection takes longer than the scrape timeout\n")
        if body.exception():
            return Reply(500, b"the collection failed: see the log of the exporter\n")
        described = [(b"vary", b"Accept, Accept-Encoding")]
        if form.gzipped:
            described.append((b"content-encoding", b"gzip"))
        content_type = _OPEN_METRICS if form.open_metrics else CONTENT_TYPE_PLAIN_0_0_4
        return Reply(200, body.result(), content_type, tuple(described))


def _page(body: bytes) -> Reply:
    """An HTML page, which no cache keeps, and from which a browser loads nothing and tells nobody."""
    headers = (
        (b"cache-control", b"no-store"),
        (b"content-security-policy", page.POLICY.encode()),
        (b"referrer-policy", b"no-referrer"),
        (b"x-content-type-options", b"nosniff"),
    )
    return Reply(200, body, _HTML, headers)


def _joined(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """Gives the headers by lower-case name, repeated ones joined by commas."""
    joined: dict[str, str] = {}
    for name, value in headers:
        key, text = name.decode("latin-1").lower(), value.decode("latin-1")
        joined[key] = f"{joined[key]},{text}" if key in joined else text
    return joined


def _patience(headers: Mapping[str, str]) -> float:
    """Gives the seconds within which Prometheus wants the answer, less a share for its way.

    An answer in time keeps the connection, where a scraper that gives up would have to close it.
    """
    seconds = _positive(headers.get("x-prometheus-scrape-timeout-seconds", ""))
    return min(seconds - min(0.5, seconds / 2) or _LONGEST_WAIT, _LONGEST_WAIT)


def _wants_open_metrics(accept: str) -> bool:
    # Not prometheus_client's choose_encoder: that claims any version asked for, and fails on `version=x`.
    for media_type, parameters in _preferences(accept):
        if media_type == "application/openmetrics-text":
            if parameters.get("version", OPEN_METRICS_VERSION) == OPEN_METRICS_VERSION:
                return True
        elif media_type in ("text/plain", "text/*", "*/*"):
            return False
    return False


def _wants_gzip(accept_encoding: str) -> bool:
    codings = [coding for coding, _ in _preferences(accept_encoding) if coding in ("gzip", "identity")]
    return codings[:1] == ["gzip"]


def _preferences(header: str) -> list[tuple[str, dict[str, str]]]:
    """Gives the choices of an Accept header with their parameters: most wanted first, refused ones not."""
    choices = []
    for choice in header.lower().split(","):
        value, *rest = (part.strip() for part in choice.split(";"))
        pairs = (part.partition("=") for part in rest)
        parameters = {name.strip(): text.strip(' "') for name, _, text in pairs}
        choices.append((_positive(parameters.get("q", "1")), value, parameters))
    choices.sort(key=lambda each: -each[0])
    return [(value, parameters) for quality, value, parameters in choices if quality]


def _positive(text: str) -> float:
    """Gives the number above 0 that the text is, 0 for any other text and NaN."""
    try:
        number = float(text)
    except ValueError:
        return 0
    return max(0, number)
