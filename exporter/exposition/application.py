"""What the exporter answers over HTTP, as a plain ASGI application: metrics, health, status page.

Knows no sockets: any ASGI server or test can call it, and authentication or rate limits wrap around it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Final
from urllib.parse import parse_qs

from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4

from . import page
from .collection import Collection
from .encoder import OPEN_METRICS_VERSION
from .reply import Receive, Reply, Scope, Send, joined
from .shared import NO_SELECTION, Form, Ready, Selection, SharedWork

_OPEN_METRICS: Final = f"application/openmetrics-text; version={OPEN_METRICS_VERSION}; charset=utf-8"
_HTML: Final = "text/html; charset=utf-8"

_LONGEST_WAIT: Final = 60.0
"""Seconds. Those in no hurry, and those who have long gone away, must not gather while something hangs."""


class Application:
    """The ASGI application: the metrics at `telemetry_path`, `/`, `/-/healthy` and `/-/ready`.

    selection: the collectors that `collect[]` and `exclude[]` may name, and the families that are left.
    reload: reads the configuration again at `/-/reload`, and says whether it could be used; None forbids it.
    status: makes the page at `/`, a whole HTML document, in the thread that also collects. Without it,
    there is a page of links with `title` and `description`, plain text. Either gives way where the
    telemetry path is `/`. ready: what there is for scrapes that cannot wait for the collection (see
    shared.Ready); without it, those are answered 503. Raises ValueError for a telemetry path that is not
    absolute or hides a health page.
    """

    def __init__(
        self,
        collection: Collection,
        *,
        telemetry_path: str = "/metrics",
        title: str,
        description: str = "",
        status: Callable[[], str] | None = None,
        ready: Ready | None = None,
        selection: Selection = NO_SELECTION,
        reload: Callable[[], bool] | None = None,
    ) -> None:
        if not telemetry_path.startswith("/") or telemetry_path.startswith("/-/"):
            raise ValueError(f"telemetry path {telemetry_path!r} must begin with / and not with /-/")
        self._shared = SharedWork(collection, selection.narrow, ready)
        self._collectors = frozenset(selection.collectors)
        self._reload = reload
        self._telemetry_path = telemetry_path
        self._status = status
        self._pages = {
            "/": _page(page.landing(title, description, telemetry_path).encode()),
            "/-/healthy": Reply(200, f"{title} is healthy.\n".encode()),
            "/-/ready": Reply(200, f"{title} is ready.\n".encode()),
        }

    async def __call__(self, scope: Scope, _receive: Receive, send: Send) -> None:
        reply = await self._reply(scope)
        await reply.send(scope, send)

    async def _reply(self, scope: Scope) -> Reply:
        path = scope["path"]
        if path == "/-/reload":
            return self._reloaded(scope["method"])
        if path != self._telemetry_path and path not in self._pages:
            return Reply(404, b"not found\n")
        if scope["method"] not in ("GET", "HEAD"):
            return Reply(405, b"method not allowed\n", headers=((b"allow", b"GET, HEAD"),))
        if path == self._telemetry_path:
            return await self._metrics(scope)
        if path == "/" and self._status:
            return await self._front(self._status)
        return self._pages[path]

    def _reloaded(self, method: str) -> Reply:
        if method not in ("POST", "PUT"):
            return Reply(405, b"method not allowed\n", headers=((b"allow", b"POST, PUT"),))
        if self._reload is None:
            return Reply(403, b"not enabled: see --web.enable-lifecycle\n")
        if self._reload():
            return Reply(200, b"")
        return Reply(500, b"not reloaded: see the log of the exporter\n")

    async def _front(self, status: Callable[[], str]) -> Reply:
        made = self._shared.page(status)
        await asyncio.wait([made], timeout=_LONGEST_WAIT)
        if not made.done():
            return Reply(503, b"the page takes too long to make\n")
        if made.exception():
            return Reply(500, b"the page could not be made: see the log of the exporter\n")
        return _page(made.result())

    async def _metrics(self, scope: Scope) -> Reply:
        headers = joined(scope["headers"])
        query = parse_qs(scope["query_string"].decode("latin-1"))
        try:
            collectors = self._chosen(query)
        except ValueError as problem:
            return Reply(400, f"{problem}\n".encode())
        form = Form(
            open_metrics=_wants_open_metrics(headers.get("accept", "")),
            gzipped=_wants_gzip(headers.get("accept-encoding", "")),
            names=frozenset(query.get("name[]", ())),
            collectors=collectors,
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

    def _chosen(self, query: Mapping[str, list[str]]) -> frozenset[str] | None:
        """The collectors that the request names, None for all. Raises ValueError for those there are not."""
        collected, excluded = (frozenset(query.get(key, ())) for key in ("collect[]", "exclude[]"))
        if collected and excluded:
            raise ValueError("either collect[] or exclude[], not both")
        if not collected | excluded <= self._collectors:
            known = ", ".join(sorted(self._collectors)) or "none"
            raise ValueError(f"no such collector; those that can be chosen here: {known}")
        if not collected | excluded:
            return None
        return collected or self._collectors - excluded


def _page(body: bytes) -> Reply:
    """An HTML page, which no cache keeps, and from which a browser loads nothing and tells nobody."""
    headers = (
        (b"cache-control", b"no-store"),
        (b"content-security-policy", page.POLICY.encode()),
        (b"referrer-policy", b"no-referrer"),
        (b"x-content-type-options", b"nosniff"),
    )
    return Reply(200, body, _HTML, headers)


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
