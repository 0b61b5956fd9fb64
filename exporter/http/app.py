"""HTTP API: metrics, health, status page and reload, as a request handler."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Final
from urllib.parse import parse_qs

from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4

from ..metrics.text_format import OPEN_METRICS_VERSION
from ..rendering import html
from .limits import DEFAULT_LIMITS, ServerLimits
from .messages import Request, Response
from .scrape import ScrapeCoalescer, ScrapeParams

_OPEN_METRICS_CONTENT_TYPE: Final = (
    f"application/openmetrics-text; version={OPEN_METRICS_VERSION}; charset=utf-8"
)
_HTML_CONTENT_TYPE: Final = "text/html; charset=utf-8"
_RELOAD_PATH: Final = "/-/reload"


class App:
    """Request handler: the metrics at `telemetry_path`, `/`, `/-/healthy`, `/-/ready` and `/-/reload`.

    The response to HEAD has the body of GET, which the server does not send.

    title, description: plain text of the landing page.
    status_page: returns the HTML document for `/`, called in the collection thread; if None, `/` is a landing
        page with links. If the telemetry path is `/`, the metrics are served there instead.
    reload: reloads the configuration and returns whether that succeeded; None disables `/-/reload`.

    Raises ValueError for a telemetry path that is relative or begins with `/-/`.
    """

    def __init__(
        self,
        scrapes: ScrapeCoalescer,
        *,
        telemetry_path: str = "/metrics",
        title: str,
        description: str = "",
        status_page: Callable[[], str] | None = None,
        reload: Callable[[], bool] | None = None,
        limits: ServerLimits = DEFAULT_LIMITS,
    ) -> None:
        if not telemetry_path.startswith("/") or telemetry_path.startswith("/-/"):
            raise ValueError(f"telemetry path {telemetry_path!r} must begin with / and not with /-/")
        self._scrapes = scrapes
        self._telemetry_path = telemetry_path
        self._render_status_page = status_page
        self._reload_configuration = reload
        self._max_wait_seconds = limits.max_scrape_wait
        self._static_pages = {
            "/": _html_response(html.render_landing_page(title, description, telemetry_path).encode()),
            "/-/healthy": Response(200, f"{title} is healthy.\n".encode()),
            "/-/ready": Response(200, f"{title} is ready.\n".encode()),
        }

    async def __call__(self, request: Request) -> Response:
        """Return the response to a request."""
        path = request.path
        if path == _RELOAD_PATH:
            return self._reload(request.method)
        if path != self._telemetry_path and path not in self._static_pages:
            return Response(404, b"not found\n")
        if request.method not in ("GET", "HEAD"):
            return _method_not_allowed(b"GET, HEAD")
        if path == self._telemetry_path:
            return await self._serve_metrics(request)
        if path == "/" and self._render_status_page:
            return await self._serve_status_page(self._render_status_page)
        return self._static_pages[path]

    def _reload(self, method: str) -> Response:
        if method not in ("POST", "PUT"):
            return _method_not_allowed(b"POST, PUT")
        if self._reload_configuration is None:
            return Response(403, b"Lifecycle API is not enabled.\n")
        if self._reload_configuration():
            return Response(200, b"")
        return Response(500, b"not reloaded: see the log of the exporter\n")

    async def _serve_status_page(self, render: Callable[[], str]) -> Response:
        rendered = self._scrapes.status_page(render)
        # Unlike wait_for(), wait() does not cancel the future, which other requests share.
        await asyncio.wait([rendered], timeout=self._max_wait_seconds)
        if not rendered.done():
            return Response(503, b"the status page takes too long to render\n")
        if rendered.exception():
            return Response(500, b"the status page failed: see the log of the exporter\n")
        return _html_response(rendered.result())

    async def _serve_metrics(self, request: Request) -> Response:
        query = parse_qs(request.query)
        try:
            collectors = self._selected_collectors(query)
        except ValueError as problem:
            return Response(400, f"{problem}\n".encode())
        params = ScrapeParams(
            open_metrics=_accepts_open_metrics(request.headers.get("accept", "")),
            gzipped=_accepts_gzip(request.headers.get("accept-encoding", "")),
            names=frozenset(query.get("name[]", ())),
            collectors=collectors,
        )
        requested_at = time.monotonic()
        complete = self._scrapes.metrics(params)
        await asyncio.wait([complete], timeout=self._scrape_timeout(request.headers))
        body = complete if complete.done() else self._scrapes.partial(params, requested_at)
        if body is None:
            return Response(503, b"the collection takes longer than the scrape timeout\n")
        if body.exception():
            return Response(500, b"the collection failed: see the log of the exporter\n")
        headers = [(b"vary", b"Accept, Accept-Encoding")]
        if params.gzipped:
            headers.append((b"content-encoding", b"gzip"))
        content_type = _OPEN_METRICS_CONTENT_TYPE if params.open_metrics else CONTENT_TYPE_PLAIN_0_0_4
        return Response(200, body.result(), content_type, tuple(headers))

    def _selected_collectors(self, query: Mapping[str, list[str]]) -> frozenset[str] | None:
        """Return the collectors that `collect[]` or `exclude[]` select, None for all.

        Raises ValueError for unknown collectors, and for both parameters together.
        """
        known = self._scrapes.collector_names
        collected, excluded = (frozenset(query.get(key, ())) for key in ("collect[]", "exclude[]"))
        if collected and excluded:
            raise ValueError("collect[] and exclude[] cannot be combined")
        if not collected | excluded <= known:
            raise ValueError(f"unknown collector; the known ones are: {', '.join(sorted(known)) or 'none'}")
        if not collected | excluded:
            return None
        return collected or known - excluded

    def _scrape_timeout(self, headers: Mapping[str, str]) -> float:
        """Return the seconds that a scrape waits: Prometheus' timeout minus up to 0.5 s for the response.

        A response in time keeps the connection open; a scraper that times out closes it.
        """
        seconds = _parse_positive(headers.get("x-prometheus-scrape-timeout-seconds", ""))
        return min(seconds - min(0.5, seconds / 2) or self._max_wait_seconds, self._max_wait_seconds)


def _method_not_allowed(allowed: bytes) -> Response:
    return Response(405, b"method not allowed\n", headers=((b"allow", allowed),))


def _html_response(body: bytes) -> Response:
    """Return an HTML page that is not cached, loads nothing and sends no referrer."""
    headers = (
        (b"cache-control", b"no-store"),
        (b"content-security-policy", html.CONTENT_SECURITY_POLICY.encode()),
        (b"referrer-policy", b"no-referrer"),
        (b"x-content-type-options", b"nosniff"),
    )
    return Response(200, body, _HTML_CONTENT_TYPE, headers)


def _accepts_open_metrics(accept: str) -> bool:
    # prometheus_client's choose_encoder() accepts any requested version, and fails on `version=x`.
    for media_type, parameters in _parse_accept(accept):
        if media_type == "application/openmetrics-text":
            if parameters.get("version", OPEN_METRICS_VERSION) == OPEN_METRICS_VERSION:
                return True
        elif media_type in ("text/plain", "text/*", "*/*"):
            return False
    return False


def _accepts_gzip(accept_encoding: str) -> bool:
    codings = [coding for coding, _ in _parse_accept(accept_encoding) if coding in ("gzip", "identity")]
    return codings[:1] == ["gzip"]


def _parse_accept(header: str) -> list[tuple[str, dict[str, str]]]:
    """Return values and parameters of an Accept header by descending quality, without those of quality 0."""
    choices = []
    for choice in header.lower().split(","):
        value, *attributes = (part.strip() for part in choice.split(";"))
        pairs = (attribute.partition("=") for attribute in attributes)
        parameters = {name.strip(): text.strip(' "') for name, _, text in pairs}
        choices.append((_parse_positive(parameters.get("q", "1")), value, parameters))
    choices.sort(key=lambda choice: -choice[0])
    return [(value, parameters) for quality, value, parameters in choices if quality]


def _parse_positive(text: str) -> float:
    """Return the number in the text if it is positive, otherwise 0."""
    try:
        number = float(text)
    except ValueError:
        return 0
    return max(0, number)
