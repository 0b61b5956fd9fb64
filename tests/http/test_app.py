import asyncio
import gzip
import threading
import time
from collections.abc import Callable, Coroutine, Iterable, Iterator, Sequence
from html.parser import HTMLParser
from typing import Any
from urllib.parse import urljoin

import pytest
from prometheus_client import CollectorRegistry, Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_open_metrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from exporter.http.app import App
from exporter.http.limits import ServerLimits
from exporter.http.messages import Request, Response, header_dict
from exporter.http.scrape import CollectorFilter, ScrapeCoalescer

TEXT = "text/plain; version=0.0.4; charset=utf-8"
OPEN_METRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"

# The Accept header of Prometheus 3.
PROMETHEUS_ACCEPT = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
    "application/openmetrics-text;version=0.0.1;q=0.5,"
    "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)


class CountingCollector:
    """A collector that counts its collections, and can be delayed or made to fail."""

    def __init__(self) -> None:
        self.collections = 0
        self.started = threading.Event()
        self.released = threading.Event()
        self.released.set()
        self.failure: Exception | None = None

    def describe(self) -> Sequence[Metric]:
        return ()

    def collect(self) -> Iterator[Metric]:
        self.collections += 1
        self.started.set()
        assert self.released.wait(20)
        if self.failure:
            raise self.failure
        yield GaugeMetricFamily("tiny_collections", "Collections begun.", value=self.collections)
        yield CounterMetricFamily("tiny_events", "Nothing.", value=3)

    def hold(self) -> None:
        self.started.clear()
        self.released.clear()


class AppResponse:
    """A response, with its headers by name."""

    def __init__(self, response: Response) -> None:
        self.status = response.status
        self.body = response.body
        pairs = [(name.decode(), value.decode()) for name, value in response.headers]
        self.headers = {"content-type": response.content_type, **dict(pairs)}
        assert len(self.headers) == len(pairs) + 1
        assert {name.lower() for name in self.headers} == self.headers.keys()


@pytest.fixture
def collector() -> Iterator[CountingCollector]:
    collector = CountingCollector()
    yield collector
    collector.released.set()


@pytest.fixture
def app(collector: CountingCollector) -> App:
    registry = CollectorRegistry()
    registry.register(collector)
    return App(ScrapeCoalescer(registry), title="Tiny <exporter>", description="<i> & 2")


async def send_request(
    app: App, path: str = "/metrics", *, method: str = "GET", query: str = "", **headers: str
) -> AppResponse:
    raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return AppResponse(await app(Request(method, path, query, header_dict(raw))))


def get(app: App, path: str = "/metrics", **options: Any) -> AppResponse:
    return asyncio.run(send_request(app, path, **options))


async def until(event: threading.Event) -> None:
    assert await asyncio.to_thread(event.wait, 20)


class TestFormats:
    @pytest.mark.parametrize(
        ("accept", "content_type"),
        [
            ("", TEXT),
            ("*/*", TEXT),
            ("text/plain", TEXT),
            ("text/html, */*;q=0.8", TEXT),
            ("nonsense", TEXT),
            (";;==,,", TEXT),
            (PROMETHEUS_ACCEPT, OPEN_METRICS),
            ("application/openmetrics-text", OPEN_METRICS),
            ("Application/OpenMetrics-Text; Version=1.0.0", OPEN_METRICS),
            ('application/openmetrics-text; version="1.0.0"', OPEN_METRICS),
            ("text/plain;q=0.3, application/openmetrics-text;version=1.0.0;q=0.5", OPEN_METRICS),
            ("text/plain;q=0.5, application/openmetrics-text;version=1.0.0;q=0.3", TEXT),
            ("application/openmetrics-text;version=2.0.0", TEXT),
            ("application/openmetrics-text;version=2.0.0,application/openmetrics-text;q=0.5", OPEN_METRICS),
            ("application/openmetrics-text;version=0.0.1", TEXT),
            ("application/openmetrics-text;version=x", TEXT),
            ("application/openmetrics-text;q=0", TEXT),
            ("application/openmetrics-text;q=nan", TEXT),
            ("application/openmetrics-text;q=high", TEXT),
        ],
    )
    def test_content_type_is_the_negotiated_format(self, app: App, accept: str, content_type: str) -> None:
        response = get(app, accept=accept)
        assert (response.status, response.headers["content-type"]) == (200, content_type)
        parse = parse_open_metrics if content_type == OPEN_METRICS else parse_text
        families = {family.name: family for family in parse(response.body.decode())}
        assert families["tiny_collections"].samples[0].value == 1
        assert response.body.endswith(b"# EOF\n") == (content_type == OPEN_METRICS)

    def test_repeated_accept_headers_are_joined(self, app: App) -> None:
        response = get(app, Accept="application/openmetrics-text", accept="text/html")
        assert response.headers["content-type"] == OPEN_METRICS

    @pytest.mark.parametrize(
        ("accept_encoding", "gzipped"),
        [
            ("gzip", True),
            ("deflate, GZIP;q=0.5", True),
            ("gzip, identity;q=0.5", True),
            ("identity, gzip;q=0.5", False),
            ("gzip;q=0", False),
            ("gzip;q=0, *", False),
            ("deflate", False),
            ("", False),
        ],
    )
    def test_gzip_when_accepted(self, app: App, accept_encoding: str, gzipped: bool) -> None:
        response = get(app, accept_encoding=accept_encoding)
        assert response.headers.get("content-encoding") == ("gzip" if gzipped else None)
        assert b"tiny_collections 1.0" in (gzip.decompress(response.body) if gzipped else response.body)

    def test_vary_names_the_negotiated_headers(self, app: App) -> None:
        assert get(app).headers["vary"] == "Accept, Accept-Encoding"

    @pytest.mark.parametrize(
        ("query", "families"),
        [
            ("", {"tiny_collections", "tiny_events"}),
            ("name[]=tiny_collections", {"tiny_collections"}),
            ("name%5B%5D=tiny_events", {"tiny_events"}),
            ("name[]=tiny_events_total", {"tiny_events"}),
            ("name[]=tiny_events&name[]=tiny_collections", {"tiny_collections", "tiny_events"}),
            ("name[]=none_such", set()),
            ("other=tiny_events", {"tiny_collections", "tiny_events"}),
        ],
    )
    def test_name_parameter_selects_families(self, app: App, query: str, families: set[str]) -> None:
        response = get(app, query=query)
        assert {family.name for family in parse_text(response.body.decode())} == families


class TestPages:
    @pytest.mark.parametrize("path", ["/", "/-/healthy", "/-/ready"])
    def test_head_gets_the_response_to_get(self, app: App, path: str) -> None:
        """The server omits the body."""
        response, head = get(app, path), get(app, path, method="HEAD")
        assert (head.status, head.headers, head.body) == (200, response.headers, response.body)
        assert response.body

    def test_head_of_metrics_collects(self, app: App) -> None:
        head = get(app, method="HEAD")
        assert (head.status, head.headers["content-type"]) == (200, TEXT)
        assert b"tiny_collections 1.0" in head.body

    @pytest.mark.parametrize("path", ["/-/healthy", "/-/ready"])
    def test_health_checks_do_not_collect(self, app: App, collector: CountingCollector, path: str) -> None:
        response = get(app, path)
        assert (response.status, response.headers["content-type"]) == (200, "text/plain; charset=utf-8")
        assert collector.collections == 0

    @pytest.mark.parametrize("path", ["/metric", "/metrics/", "//", "/-/", "/-/reload/", ""])
    @pytest.mark.parametrize("method", ["GET", "POST"])
    def test_unknown_path_is_404(
        self, app: App, collector: CountingCollector, path: str, method: str
    ) -> None:
        assert get(app, path, method=method).status == 404
        assert collector.collections == 0

    @pytest.mark.parametrize("path", ["/", "/metrics", "/-/healthy", "/-/ready"])
    @pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "get"])
    def test_other_methods_are_405_with_allow_header(
        self, app: App, collector: CountingCollector, path: str, method: str
    ) -> None:
        response = get(app, path, method=method)
        assert (response.status, response.headers["allow"]) == (405, "GET, HEAD")
        assert collector.collections == 0

    def test_landing_page_is_well_formed_and_its_links_work(self, app: App) -> None:
        response = get(app, "/")
        assert response.headers["content-type"] == "text/html; charset=utf-8"
        page = Page(response.body.decode())
        assert page.open_tags == []
        assert page.language == "en"
        assert page.texts["title"] == page.texts["h1"] == "Tiny <exporter>"
        assert page.texts["p"] == "<i> & 2"
        *links, readme = [urljoin("/", link) for link in page.links]
        assert links == ["/metrics", "/-/healthy", "/-/ready"]
        assert [get(app, link).status for link in links] == [200, 200, 200]
        assert readme.startswith("https://")

    @pytest.mark.parametrize("path", ["/", "/a/b", "/a:b", '/"><script>'])
    def test_telemetry_path_can_be_changed(self, collector: CountingCollector, path: str) -> None:
        app = App(ScrapeCoalescer(collector), telemetry_path=path, title="Tiny")
        assert b"tiny_collections 1.0" in get(app, path).body
        landing_page = get(app, "/")
        if path != "/":
            assert get(app, "/metrics").status == 404
            assert b"<script>" not in landing_page.body

    @pytest.mark.parametrize("path", ["", "metrics", "/-/healthy", "/-/"])
    def test_invalid_telemetry_path_is_an_error(self, collector: CountingCollector, path: str) -> None:
        with pytest.raises(ValueError, match="telemetry path"):
            App(ScrapeCoalescer(collector), telemetry_path=path, title="Tiny")


class TestSelection:
    @pytest.fixture
    def app(self, collector: CountingCollector) -> App:
        def narrow(families: Iterable[Metric], collectors: frozenset[str]) -> Iterator[Metric]:
            return (family for family in families if family.name.removeprefix("tiny_") in collectors)

        collector_filter = CollectorFilter(("collections", "events"), narrow)
        return App(ScrapeCoalescer(collector, collector_filter), title="Tiny")

    @pytest.mark.parametrize(
        ("query", "families"),
        [
            ("collect[]=events", {"tiny_events"}),
            ("collect%5B%5D=events&collect[]=collections", {"tiny_events", "tiny_collections"}),
            ("exclude[]=events", {"tiny_collections"}),
            ("exclude[]=events&exclude[]=collections", set()),
            ("collect[]=", {"tiny_events", "tiny_collections"}),
            ("collect[]=events&name[]=tiny_collections", set()),
        ],
    )
    def test_collect_and_exclude_select_collectors(self, app: App, query: str, families: set[str]) -> None:
        response = get(app, query=query)
        assert response.status == 200
        assert {family.name for family in parse_text(response.body.decode())} == families

    @pytest.mark.parametrize(
        "query", ["collect[]=events&exclude[]=events", "exclude[]=none&collect[]=events"]
    )
    def test_collect_and_exclude_together_are_400(
        self, app: App, collector: CountingCollector, query: str
    ) -> None:
        response = get(app, query=query)
        assert (response.status, response.body) == (400, b"collect[] and exclude[] cannot be combined\n")
        assert collector.collections == 0

    @pytest.mark.parametrize(
        "query", ["collect[]=none", "exclude[]=<b>", "collect[]=events&collect[]=Events"]
    )
    def test_unknown_collector_is_400_and_known_ones_are_listed(
        self, app: App, collector: CountingCollector, query: str
    ) -> None:
        response = get(app, query=query)
        assert response.status == 400
        assert response.body == b"unknown collector; the known ones are: collections, events\n"
        assert collector.collections == 0

    def test_different_selections_share_a_collection(self, app: App, collector: CountingCollector) -> None:
        async def scenario() -> list[AppResponse]:
            collector.hold()
            requests = (
                send_request(app, query=query) for query in ("", "collect[]=events", "exclude[]=events")
            )
            tasks = [asyncio.create_task(coroutine) for coroutine in requests]
            await until(collector.started)
            await asyncio.sleep(0)
            collector.released.set()
            return await asyncio.gather(*tasks)

        everything, events, others = asyncio.run(scenario())
        assert collector.collections == 1
        assert others.body + events.body == everything.body


class TestReload:
    @pytest.mark.parametrize("method", ["POST", "PUT"])
    @pytest.mark.parametrize(("succeeds", "status"), [(True, 200), (False, 500)])
    def test_post_reloads_and_reports_the_result(
        self, collector: CountingCollector, method: str, succeeds: bool, status: int
    ) -> None:
        reloads: list[None] = []

        def reload() -> bool:
            reloads.append(None)
            return succeeds

        response = get(
            App(ScrapeCoalescer(collector), title="Tiny", reload=reload), "/-/reload", method=method
        )
        assert (response.status, len(reloads)) == (status, 1)

    def test_reload_is_403_unless_enabled(self, app: App) -> None:
        response = get(app, "/-/reload", method="POST")
        assert (response.status, response.body) == (403, b"Lifecycle API is not enabled.\n")

    @pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE"])
    def test_other_methods_do_not_reload(self, collector: CountingCollector, method: str) -> None:
        app = App(ScrapeCoalescer(collector), title="Tiny", reload=lambda: pytest.fail("reloaded"))
        response = get(app, "/-/reload", method=method)
        assert (response.status, response.headers["allow"]) == (405, "POST, PUT")


class CountingStatusPage:
    """A status page that counts its renderings, and can be delayed or made to fail."""

    def __init__(self) -> None:
        self.rendered = 0
        self.thread = ""
        self.started = threading.Event()
        self.released = threading.Event()
        self.released.set()
        self.failure: Exception | None = None

    def __call__(self) -> str:
        self.rendered += 1
        self.thread = threading.current_thread().name
        self.started.set()
        assert self.released.wait(20)
        if self.failure:
            raise self.failure
        return f"<!doctype html>page {self.rendered}"


@pytest.fixture
def status() -> Iterator[CountingStatusPage]:
    status = CountingStatusPage()
    yield status
    status.released.set()


class TestStatusPage:
    @pytest.fixture
    def app(self, collector: CountingCollector, status: CountingStatusPage) -> App:
        return App(ScrapeCoalescer(collector), title="Tiny", status_page=status)

    def test_each_visit_renders_a_new_page(self, app: App) -> None:
        assert [get(app, "/").body for _ in range(2)] == [
            b"<!doctype html>page 1",
            b"<!doctype html>page 2",
        ]
        assert get(app, "/").headers["content-type"] == "text/html; charset=utf-8"

    def test_security_headers(self, app: App) -> None:
        headers = get(app, "/").headers
        assert headers["cache-control"] == "no-store"
        assert headers["content-security-policy"].startswith("default-src 'none';")
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["x-content-type-options"] == "nosniff"

    def test_page_is_rendered_in_the_collection_thread(self, app: App, status: CountingStatusPage) -> None:
        assert get(app, "/").status == 200
        assert status.thread.startswith("collection")

    def test_page_does_not_collect_metrics(self, app: App, collector: CountingCollector) -> None:
        get(app, "/")
        assert collector.collections == 0

    def test_telemetry_path_replaces_the_page(
        self, collector: CountingCollector, status: CountingStatusPage
    ) -> None:
        app = App(ScrapeCoalescer(collector), telemetry_path="/", title="Tiny", status_page=status)
        assert b"tiny_collections 1.0" in get(app, "/").body
        assert status.rendered == 0

    def test_failure_is_500_without_details_and_logged_once(
        self, app: App, status: CountingStatusPage, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level("INFO")
        status.failure = RuntimeError("secret")
        responses = [get(app, "/") for _ in range(2)]
        status.failure = None
        assert get(app, "/").status == 200
        assert [response.status for response in responses] == [500, 500]
        assert b"secret" not in responses[0].body
        messages = [record.getMessage() for record in caplog.records if record.name.startswith("exporter")]
        assert messages == ["Status page failed", "Status page recovered"]

    def test_concurrent_visits_share_a_page(self, app: App, status: CountingStatusPage) -> None:
        async def scenario() -> list[AppResponse]:
            status.released.clear()
            first = asyncio.create_task(send_request(app, "/"))
            await until(status.started)
            others = [asyncio.create_task(send_request(app, "/")) for _ in range(30)]
            await asyncio.sleep(0)
            status.released.set()
            return await asyncio.gather(first, *others)

        responses = asyncio.run(scenario())
        assert status.rendered == 1
        assert {response.body for response in responses} == {b"<!doctype html>page 1"}

    def test_wait_for_the_page_is_limited(
        self, collector: CountingCollector, status: CountingStatusPage
    ) -> None:
        scrapes = ScrapeCoalescer(collector)
        impatient = App(scrapes, title="Tiny", status_page=status, limits=ServerLimits(max_scrape_wait=0.02))
        patient = App(scrapes, title="Tiny", status_page=status)

        async def scenario() -> tuple[int, int]:
            status.released.clear()
            partial = await send_request(impatient, "/")
            waiting = asyncio.create_task(send_request(patient, "/"))
            await asyncio.sleep(0)
            status.released.set()
            return partial.status, (await waiting).status

        assert asyncio.run(scenario()) == (503, 200)
        assert status.rendered == 1

    def test_cancelled_visit_does_not_affect_the_others(self, app: App, status: CountingStatusPage) -> None:
        async def scenario() -> AppResponse:
            status.released.clear()
            cancelled_scrape, other_scrape = (asyncio.create_task(send_request(app, "/")) for _ in range(2))
            await until(status.started)
            cancelled_scrape.cancel()
            await asyncio.wait([cancelled_scrape])
            status.released.set()
            return await other_scrape

        assert asyncio.run(scenario()).status == 200

    def test_health_check_while_page_is_rendered(self, app: App, status: CountingStatusPage) -> None:
        async def scenario() -> int:
            status.released.clear()
            visit = asyncio.create_task(send_request(app, "/"))
            await until(status.started)
            health = await send_request(app, "/-/healthy")
            assert not visit.done()
            status.released.set()
            await visit
            return health.status

        assert asyncio.run(scenario()) == 200


class TestFailures:
    def test_failed_collection_is_500_without_details(
        self, app: App, collector: CountingCollector, caplog: pytest.LogCaptureFixture
    ) -> None:
        collector.failure = RuntimeError("secret")
        response = get(app)
        assert (response.status, response.headers["content-type"]) == (500, "text/plain; charset=utf-8")
        assert b"secret" not in response.body
        assert b"Traceback" not in response.body
        assert [record.getMessage() for record in caplog.records] == ["Collection failed"]
        assert caplog.records[0].exc_info
        assert caplog.records[0].exc_info[1] is collector.failure

    def test_failure_and_recovery_are_logged_once(
        self, app: App, collector: CountingCollector, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level("INFO")
        collector.failure = TimeoutError("no answer")
        assert [get(app).status for _ in range(3)] == [500, 500, 500]
        collector.failure = None
        assert [get(app).status for _ in range(2)] == [200, 200]
        messages = [record.getMessage() for record in caplog.records if record.name.startswith("exporter")]
        assert messages == ["Collection failed", "Collection recovered"]

    def test_encoding_error_is_a_failed_collection(self, caplog: pytest.LogCaptureFixture) -> None:
        class Wrong:
            def collect(self) -> Iterator[Metric]:
                yield GaugeMetricFamily("wrong", "A value that is not a number.", value="x")  # type: ignore[arg-type]

        assert get(App(ScrapeCoalescer(Wrong()), title="Tiny")).status == 500
        assert [record.getMessage() for record in caplog.records] == ["Collection failed"]

    def test_timeout_is_503_and_the_next_scrape_shares_the_result(
        self, app: App, collector: CountingCollector
    ) -> None:
        async def scenario() -> tuple[AppResponse, AppResponse]:
            collector.hold()
            partial = await send_request(app, x_prometheus_scrape_timeout_seconds="0.02")
            waiting = asyncio.create_task(send_request(app, x_prometheus_scrape_timeout_seconds="1000"))
            await asyncio.sleep(0)
            collector.released.set()
            return partial, await waiting

        partial, served = asyncio.run(scenario())
        assert (partial.status, served.status) == (503, 200)
        assert b"tiny_collections 1.0" in served.body

    def test_result_that_missed_all_timeouts_is_not_served_later(self, collector: CountingCollector) -> None:
        scrapes = ScrapeCoalescer(collector)
        app = App(scrapes, title="Tiny")

        async def scenario() -> AppResponse:
            collector.hold()
            assert (await send_request(app, x_prometheus_scrape_timeout_seconds="0.02")).status == 503
            collector.released.set()
            # The collection thread works in order: when this is done, so is the collection that timed out.
            await asyncio.wrap_future(scrapes.submit(lambda: None))
            await asyncio.sleep(0)
            return await send_request(app)

        assert b"tiny_collections 2.0" in asyncio.run(scenario()).body

    @pytest.mark.parametrize(
        ("timeout", "waited"), [("10", 9.5), ("0.4", 0.2), ("", 60), ("soon", 60), ("inf", 60)]
    )
    def test_wait_is_shorter_than_the_scrape_timeout(
        self, app: App, monkeypatch: pytest.MonkeyPatch, timeout: str, waited: float
    ) -> None:
        waits: list[float] = []
        wait = asyncio.wait

        async def recorded(bodies: list[asyncio.Future[bytes]], **options: float) -> None:
            waits.append(options["timeout"])
            await wait(bodies)

        monkeypatch.setattr(asyncio, "wait", recorded)
        assert get(app, x_prometheus_scrape_timeout_seconds=timeout).status == 200
        assert waits == [waited]

    @pytest.mark.parametrize("timeout", ["", "soon", "0", "-1", "nan", "inf", "1e999"])
    def test_invalid_scrape_timeout_is_ignored(self, app: App, timeout: str) -> None:
        assert get(app, x_prometheus_scrape_timeout_seconds=timeout).status == 200


class TestPartialResponses:
    """Scrapes that time out get the partial result of the running collection."""

    @pytest.fixture
    def min_start_times(self) -> list[float]:
        """Return a list of the earliest start of a collection that each call accepts."""
        return []

    @pytest.fixture
    def app(self, collector: CountingCollector, min_start_times: list[float]) -> App:
        def partial_collect(since: float) -> Iterator[Metric]:
            min_start_times.append(since)
            if collector.failure:
                raise collector.failure
            yield GaugeMetricFamily("tiny_ready", "Ready.", value=1)
            yield GaugeMetricFamily("tiny_more", "More.", value=1)

        return App(ScrapeCoalescer(collector, partial_collect=partial_collect), title="Tiny")

    def test_partial_response_when_collection_exceeds_timeout(
        self, app: App, collector: CountingCollector
    ) -> None:
        async def scenario() -> tuple[AppResponse, AppResponse]:
            collector.hold()
            partial = await send_request(app, x_prometheus_scrape_timeout_seconds="0.02")
            waiting = asyncio.create_task(send_request(app, x_prometheus_scrape_timeout_seconds="1000"))
            await asyncio.sleep(0)
            collector.released.set()
            return partial, await waiting

        partial, whole = asyncio.run(scenario())
        assert (partial.status, whole.status) == (200, 200)
        assert b"tiny_ready 1.0" in partial.body
        assert b"tiny_collections" not in partial.body
        assert b"tiny_collections 1.0" in whole.body
        assert b"tiny_ready" not in whole.body

    def test_partial_response_is_negotiated_too(self, app: App, collector: CountingCollector) -> None:
        collector.hold()
        partial = get(
            app,
            query="name[]=tiny_more",
            accept=PROMETHEUS_ACCEPT,
            accept_encoding="gzip",
            x_prometheus_scrape_timeout_seconds="0.02",
        )
        assert partial.headers["content-type"] == OPEN_METRICS
        assert partial.headers["content-encoding"] == "gzip"
        families = parse_open_metrics(gzip.decompress(partial.body).decode())
        assert [family.name for family in families] == ["tiny_more"]

    def test_partial_results_are_five_seconds_old_at_most(
        self, app: App, collector: CountingCollector, min_start_times: list[float]
    ) -> None:
        collector.hold()
        requested_at = time.monotonic()
        get(app, x_prometheus_scrape_timeout_seconds="0.02")
        assert [requested_at - 5 <= since <= time.monotonic() - 5 for since in min_start_times] == [True]

    def test_timeouts_are_logged_once_and_recovery_after_a_minute(
        self,
        app: App,
        collector: CountingCollector,
        caplog: pytest.LogCaptureFixture,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        caplog.set_level("INFO", "exporter")

        async def scenario() -> None:
            collector.hold()
            for _ in range(3):
                await send_request(app, x_prometheus_scrape_timeout_seconds="0.02")
            collector.released.set()
            await send_request(app)
            assert [record.levelname for record in caplog.records] == ["WARNING"]
            now = time.monotonic
            monkeypatch.setattr(time, "monotonic", lambda: now() + 59)
            await send_request(app)
            assert [record.levelname for record in caplog.records] == ["WARNING"]
            monkeypatch.setattr(time, "monotonic", lambda: now() + 61)
            for _ in range(2):
                await send_request(app)

        asyncio.run(scenario())
        assert [record.getMessage() for record in caplog.records] == [
            "Scrape timeout exceeded, serving partial metrics",
            "Scrapes complete within the timeout again",
        ]

    def test_failed_partial_response_is_500_and_logged(
        self, app: App, collector: CountingCollector, caplog: pytest.LogCaptureFixture
    ) -> None:
        collector.hold()
        collector.failure = RuntimeError("secret")
        partial = get(app, x_prometheus_scrape_timeout_seconds="0.02")
        assert (partial.status, b"secret" in partial.body) == (500, False)
        assert "Partial response failed" in [record.getMessage() for record in caplog.records]


class TestCoalescing:
    def share(
        self, collector: CountingCollector, requests: Sequence[Callable[[], Coroutine[Any, Any, AppResponse]]]
    ) -> list[AppResponse]:
        """Send all requests during one collection."""

        async def scenario() -> list[AppResponse]:
            collector.hold()
            first = asyncio.create_task(requests[0]())
            await until(collector.started)
            others = [asyncio.create_task(send()) for send in requests[1:]]
            # A task runs one step in each iteration of the loop, and needs one to join.
            await asyncio.sleep(0)
            collector.released.set()
            return await asyncio.gather(first, *others)

        return asyncio.run(scenario())

    def test_concurrent_scrapes_share_a_collection(self, app: App, collector: CountingCollector) -> None:
        responses = self.share(collector, [lambda: send_request(app)] * 30)
        assert collector.collections == 1
        assert responses[0].status == 200
        assert all(response.body is responses[0].body for response in responses), "encoded more than once"

    def test_different_formats_share_a_collection(self, app: App, collector: CountingCollector) -> None:
        text, open_metrics, gzipped, chosen = self.share(
            collector,
            [
                lambda: send_request(app),
                lambda: send_request(app, accept="application/openmetrics-text"),
                lambda: send_request(app, accept_encoding="gzip"),
                lambda: send_request(app, query="name[]=tiny_events"),
            ],
        )
        assert collector.collections == 1
        assert open_metrics.headers["content-type"] == OPEN_METRICS
        assert b"tiny_collections 1.0" in open_metrics.body
        assert gzip.decompress(gzipped.body) == text.body
        assert chosen.body == text.body[text.body.index(b"# HELP tiny_events") :]

    def test_failure_is_shared(self, app: App, collector: CountingCollector) -> None:
        collector.failure = RuntimeError("secret")
        responses = self.share(collector, [lambda: send_request(app)] * 30)
        assert collector.collections == 1
        assert {response.status for response in responses} == {500}

    def test_later_scrape_gets_a_new_collection(self, app: App, collector: CountingCollector) -> None:
        self.share(collector, [lambda: send_request(app)] * 3)
        assert b"tiny_collections 2.0" in get(app).body

    def test_slow_encoding_does_not_split_the_next_collection(self, collector: CountingCollector) -> None:
        encoding_released = threading.Event()

        def select(families: Iterable[Metric], _: frozenset[str]) -> Iterable[Metric]:
            assert encoding_released.wait(20)
            return families

        app = App(ScrapeCoalescer(collector, CollectorFilter(("slow",), select)), title="Tiny")

        async def scenario() -> tuple[AppResponse, AppResponse]:
            first = asyncio.create_task(send_request(app))
            slow = asyncio.create_task(send_request(app, query="collect[]=slow"))
            assert (await first).status == 200
            assert not slow.done()
            collector.hold()
            second = asyncio.create_task(send_request(app))
            await asyncio.sleep(0)
            encoding_released.set()
            assert (await slow).status == 200
            await until(collector.started)
            third = asyncio.create_task(send_request(app))
            await asyncio.sleep(0)
            collector.released.set()
            return await asyncio.gather(second, third)

        second, third = asyncio.run(scenario())
        assert collector.collections == 2
        assert third.body is second.body

    def test_cancelled_scrape_does_not_affect_the_others(
        self, app: App, collector: CountingCollector
    ) -> None:
        async def scenario() -> AppResponse:
            collector.hold()
            cancelled_scrape, other_scrape = (asyncio.create_task(send_request(app)) for _ in range(2))
            await until(collector.started)
            cancelled_scrape.cancel()
            await asyncio.wait([cancelled_scrape])
            assert cancelled_scrape.cancelled()
            collector.released.set()
            return await other_scrape

        assert asyncio.run(scenario()).status == 200

    def test_health_check_while_collection_hangs(self, app: App, collector: CountingCollector) -> None:
        async def scenario() -> int:
            collector.hold()
            scrape = asyncio.create_task(send_request(app))
            await until(collector.started)
            health = await send_request(app, "/-/healthy")
            assert not scrape.done()
            collector.released.set()
            await scrape
            return health.status

        assert asyncio.run(scenario()) == 200


class Page(HTMLParser):
    """The contents of a page as a browser parses them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open_tags: list[str] = []
        self.links: list[str] = []
        self.texts: dict[str, str] = {}
        self.language: str | None = None
        assert text.startswith("<!doctype html>")
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        if tag == "html":
            self.language = attributes["lang"]
        if tag == "a":
            self.links.append(attributes["href"] or "")
        if tag != "meta":
            self.open_tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open_tags.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open_tags:
            tag = self.open_tags[-1]
            self.texts[tag] = self.texts.get(tag, "") + data
