"""What the exporter answers over HTTP, as a plain ASGI application: metrics, health, landing page.

Knows no sockets: any ASGI server or test can call it, and authentication or rate limits wrap around it.
"""

from __future__ import annotations

import asyncio
import gzip
import html
import logging
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qs, quote

from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4, Metric, generate_latest
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.registry import Collector

from ..logs import Once

Scope = Mapping[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
AsgiApplication = Callable[[Scope, Receive, Send], Awaitable[None]]

logger = logging.getLogger(__name__)

_OPEN_METRICS_VERSION: Final = "1.0.0"
_OPEN_METRICS: Final = f"application/openmetrics-text; version={_OPEN_METRICS_VERSION}; charset=utf-8"
_generate_open_metrics: Callable[..., bytes] = openmetrics.generate_latest

# Of a body of 317 kB: level 1 leaves 46 kB in 2.5 ms, 3 leaves 39 kB in 2.8 ms, 5 leaves 35 kB in 3.3 ms,
# 6 leaves 33 kB in 5 ms, 9 leaves 30 kB in 20 ms.
_GZIP_LEVEL: Final = 5

_LANDING_PAGE: Final = """<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark"><title>{title}</title></head>
<body><main><h1>{title}</h1>
<p>{description}</p>
<ul><li><a href="{metrics}">Metrics</a></li>
<li><a href="./-/healthy">Health</a></li>
<li><a href="./-/ready">Readiness</a></li></ul>
</main></body></html>
"""


class Form(NamedTuple):
    """How the metrics are to be written. `names` are the families wanted, all if empty.

    A family is meant by its own name and by those of its samples. Without `open_metrics`: text format 0.0.4.
    """

    open_metrics: bool
    gzipped: bool
    names: frozenset[str]


class Reply(NamedTuple):
    """A whole answer to a request; `headers` are those beside its type and length."""

    status: int
    body: bytes
    content_type: str = "text/plain; charset=utf-8"
    headers: tuple[tuple[bytes, bytes], ...] = ()


class SharedCollections:
    """Collects from a registry in one thread of its own, one collection at a time.

    Whoever asks while a collection runs, or while its first answer is encoded, shares it: many scrapers
    cost as much as one, and none of them can make the event loop wait.
    """

    def __init__(self, registry: Collector) -> None:
        self._registry = registry
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="collection")
        self._families: Future[list[Metric]] | None = None
        self._bodies: dict[Form, asyncio.Future[bytes]] = {}
        self._once = Once(logger)

    def body(self, form: Form) -> asyncio.Future[bytes]:
        """Gives the metrics, as they will be written. Shared with others: not to be cancelled.

        The future raises whatever the collection or its encoding raised; that has been logged by then.
        """
        if self._families is None:
            self._families = self._worker.submit(lambda: list(self._registry.collect()))
        if form not in self._bodies:
            # The only worker takes its work in order, so the families are there when this begins.
            families = self._families
            body = asyncio.wrap_future(self._worker.submit(_encode, families, form))
            body.add_done_callback(lambda body: self._finished(families, body))
            self._bodies[form] = body
        return self._bodies[form]

    def _finished(self, families: Future[list[Metric]], body: asyncio.Future[bytes]) -> None:
        # What comes later than the first answer wants newer figures. Dropped at once also because the
        # families of a big host are megabytes.
        if self._families is families:
            self._families, self._bodies = None, {}
        if error := body.exception():
            self._once.problem("collection", "Collection failed", error=error)
        else:
            self._once.solved("collection", "Collection works again")


class Application:
    """The ASGI application: the metrics at `telemetry_path`, `/`, `/-/healthy` and `/-/ready`.

    `title` and `description` are the plain text of the landing page, which gives way where the telemetry
    path is `/`. Raises ValueError for a telemetry path that is not absolute or hides a health page.
    """

    def __init__(
        self, registry: Collector, *, telemetry_path: str = "/metrics", title: str, description: str = ""
    ) -> None:
        if not telemetry_path.startswith("/") or telemetry_path.startswith("/-/"):
            raise ValueError(f"telemetry path {telemetry_path!r} must begin with / and not with /-/")
        self._collections = SharedCollections(registry)
        self._telemetry_path = telemetry_path
        landing_page = _LANDING_PAGE.format(
            title=html.escape(title),
            description=html.escape(description),
            # Relative, to work behind a proxy that adds a prefix.
            metrics=html.escape(f".{quote(telemetry_path)}"),
        )
        self._pages = {
            "/": Reply(200, landing_page.encode(), "text/html; charset=utf-8"),
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
        return await self._metrics(scope) if path == self._telemetry_path else self._pages[path]

    async def _metrics(self, scope: Scope) -> Reply:
        headers = _joined(scope["headers"])
        query = parse_qs(scope["query_string"].decode("latin-1"))
        form = Form(
            open_metrics=_wants_open_metrics(headers.get("accept", "")),
            gzipped=_wants_gzip(headers.get("accept-encoding", "")),
            names=frozenset(query.get("name[]", ())),
        )
        body = self._collections.body(form)
        # Waits without owning: a scraper that gives up must not cancel what others wait for.
        await asyncio.wait([body], timeout=_patience(headers))
        if not body.done():
            return Reply(503, b"the collection takes longer than the scrape timeout\n")
        if body.exception():
            return Reply(500, b"the collection failed: see the log of the exporter\n")
        described = [(b"vary", b"Accept, Accept-Encoding")]
        if form.gzipped:
            described.append((b"content-encoding", b"gzip"))
        content_type = _OPEN_METRICS if form.open_metrics else CONTENT_TYPE_PLAIN_0_0_4
        return Reply(200, body.result(), content_type, tuple(described))


class _Families(NamedTuple):
    """A registry of families that have been collected: what the encoders of prometheus_client take."""

    families: Iterable[Metric]
    names: frozenset[str]

    def collect(self) -> Iterator[Metric]:
        for family in self.families:
            if not self.names or not self.names.isdisjoint([family.name, *(s.name for s in family.samples)]):
                yield family


def _encode(collected: Future[list[Metric]], form: Form) -> bytes:
    families = _Families(collected.result(), form.names)
    if form.open_metrics:
        body = _generate_open_metrics(families, version=_OPEN_METRICS_VERSION)
    else:
        body = generate_latest(families)
    return gzip.compress(body, _GZIP_LEVEL, mtime=0) if form.gzipped else body


def _joined(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """Gives the headers by lower-case name, repeated ones joined by commas."""
    joined: dict[str, str] = {}
    for name, value in headers:
        key, text = name.decode("latin-1").lower(), value.decode("latin-1")
        joined[key] = f"{joined[key]},{text}" if key in joined else text
    return joined


def _patience(headers: Mapping[str, str]) -> float | None:
    """Gives the seconds within which Prometheus wants the answer, less a share for its way; None: no hurry.

    The answer 503 keeps the connection, where a scraper that gives up would have to close it.
    """
    seconds = _positive(headers.get("x-prometheus-scrape-timeout-seconds", ""))
    return seconds - min(0.5, seconds / 2) or None


def _wants_open_metrics(accept: str) -> bool:
    # Not prometheus_client's choose_encoder: that claims any version asked for, and fails on `version=x`.
    for media_type, parameters in _preferences(accept):
        if media_type == "application/openmetrics-text":
            if parameters.get("version", _OPEN_METRICS_VERSION) == _OPEN_METRICS_VERSION:
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
