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
from prometheus_client.samples import Sample

from exporter.exposition import application as application_module
from exporter.exposition.application import Application
from exporter.exposition.collection import Collection
from exporter.exposition.shared import Selection

TEXT = "text/plain; version=0.0.4; charset=utf-8"
OPEN_METRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"

# What Prometheus 3 sends.
PROMETHEUS_ACCEPT = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
    "application/openmetrics-text;version=0.0.1;q=0.5,"
    "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)


class Counted:
    """A collector that counts its collections, and can be held in one or made to fail."""

    def __init__(self) -> None:
        self.collections = 0
        self.begun = threading.Event()
        self.may_go_on = threading.Event()
        self.may_go_on.set()
        self.failure: Exception | None = None

    def describe(self) -> Sequence[Metric]:
        return ()

    def collect(self) -> Iterator[Metric]:
        self.collections += 1
        self.begun.set()
        assert self.may_go_on.wait(20)
        if self.failure:
            raise self.failure
        yield GaugeMetricFamily("tiny_collections", "Collections begun.", value=self.collections)
        yield CounterMetricFamily("tiny_events", "Nothing.", value=3)

    def hold(self) -> None:
        self.begun.clear()
        self.may_go_on.clear()


class LastsWhenEncodedAgain(Metric):
    """A family whose second encoding waits for an event."""

    def __init__(self, may_go_on: threading.Event) -> None:
        self._may_go_on = may_go_on
        self._encodings = 0
        super().__init__("tiny_lasting", "Nothing.", "gauge")

    @property
    def samples(self) -> list[Sample]:
        self._encodings += 1
        assert self._encodings != 2 or self._may_go_on.wait(20)
        return []

    @samples.setter
    def samples(self, _: list[Sample]) -> None:
        """Metric's constructor sets it."""


class Answer:
    def __init__(self, messages: list[dict[str, Any]]) -> None:
        start, end = messages
        assert (start["type"], end["type"]) == ("http.response.start", "http.response.body")
        assert not end.get("more_body")
        self.status: int = start["status"]
        pairs = [(name.decode(), value.decode()) for name, value in start["headers"]]
        self.headers = dict(pairs)
        assert len(self.headers) == len(pairs)
        self.body: bytes = end["body"]


@pytest.fixture
def collector() -> Iterator[Counted]:
    counted = Counted()
    yield counted
    counted.may_go_on.set()


@pytest.fixture
def application(collector: Counted) -> Application:
    registry = CollectorRegistry()
    registry.register(collector)
    return Application(Collection(registry), title="Tiny <exporter>", description="<i> & 2")


async def ask(
    application: Application,
    path: str = "/metrics",
    *,
    method: str = "GET",
    query: str = "",
    **headers: str,
) -> Answer:
    messages: list[dict[str, Any]] = []

    async def send(message: dict[str, Any]) -> None:
        messages.append(message)

    async def receive() -> dict[str, Any]:
        raise AssertionError("no page wants a body")

    raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": "http", "method": method, "path": path, "query_string": query.encode(), "headers": raw}
    await application(scope, receive, send)
    return Answer(messages)


def get(application: Application, path: str = "/metrics", **asked: Any) -> Answer:
    return asyncio.run(ask(application, path, **asked))


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
    def test_only_a_format_that_is_written_is_claimed(
        self, application: Application, accept: str, content_type: str
    ) -> None:
        answer = get(application, accept=accept)
        assert (answer.status, answer.headers["content-type"]) == (200, content_type)
        parse = parse_open_metrics if content_type == OPEN_METRICS else parse_text
        families = {family.name: family for family in parse(answer.body.decode())}
        assert families["tiny_collections"].samples[0].value == 1
        assert answer.body.endswith(b"# EOF\n") == (content_type == OPEN_METRICS)

    def test_accept_may_come_in_several_headers(self, application: Application) -> None:
        answer = get(application, Accept="application/openmetrics-text", accept="text/html")
        assert answer.headers["content-type"] == OPEN_METRICS

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
    def test_gzip_where_it_is_accepted(
        self, application: Application, accept_encoding: str, gzipped: bool
    ) -> None:
        answer = get(application, accept_encoding=accept_encoding)
        assert answer.headers.get("content-encoding") == ("gzip" if gzipped else None)
        assert int(answer.headers["content-length"]) == len(answer.body)
        assert b"tiny_collections 1.0" in (gzip.decompress(answer.body) if gzipped else answer.body)

    def test_caches_are_told_what_the_answer_depends_on(self, application: Application) -> None:
        assert get(application).headers["vary"] == "Accept, Accept-Encoding"

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
    def test_families_can_be_chosen(self, application: Application, query: str, families: set[str]) -> None:
        answer = get(application, query=query)
        assert {family.name for family in parse_text(answer.body.decode())} == families


class TestPages:
    @pytest.mark.parametrize("path", ["/", "/metrics", "/-/healthy", "/-/ready"])
    def test_head_is_get_without_the_body(self, application: Application, path: str) -> None:
        asked, told = get(application, path), get(application, path, method="HEAD")
        assert (told.status, told.headers, told.body) == (200, asked.headers, b"")
        assert int(told.headers["content-length"]) == len(asked.body) > 0

    @pytest.mark.parametrize("path", ["/-/healthy", "/-/ready"])
    def test_health_asks_no_collector(self, application: Application, collector: Counted, path: str) -> None:
        answer = get(application, path)
        assert (answer.status, answer.headers["content-type"]) == (200, "text/plain; charset=utf-8")
        assert collector.collections == 0

    @pytest.mark.parametrize("path", ["/metric", "/metrics/", "//", "/-/", "/-/reload/", ""])
    @pytest.mark.parametrize("method", ["GET", "POST"])
    def test_an_unknown_path_is_not_found(
        self, application: Application, collector: Counted, path: str, method: str
    ) -> None:
        assert get(application, path, method=method).status == 404
        assert collector.collections == 0

    @pytest.mark.parametrize("path", ["/", "/metrics", "/-/healthy", "/-/ready"])
    @pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "get"])
    def test_another_method_is_refused_with_those_allowed(
        self, application: Application, collector: Counted, path: str, method: str
    ) -> None:
        answer = get(application, path, method=method)
        assert (answer.status, answer.headers["allow"]) == (405, "GET, HEAD")
        assert collector.collections == 0

    def test_the_landing_page_is_well_formed_and_its_links_lead_somewhere(
        self, application: Application
    ) -> None:
        answer = get(application, "/")
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
        page = Page(answer.body.decode())
        assert page.open_tags == []
        assert page.language == "en"
        assert page.texts["title"] == page.texts["h1"] == "Tiny <exporter>"
        assert page.texts["p"] == "<i> & 2"
        *links, readme = [urljoin("/", link) for link in page.links]
        assert links == ["/metrics", "/-/healthy", "/-/ready"]
        assert [get(application, link).status for link in links] == [200, 200, 200]
        assert readme.startswith("https://")

    @pytest.mark.parametrize("path", ["/", "/a/b", "/a:b", '/"><script>'])
    def test_the_metrics_can_be_elsewhere(self, collector: Counted, path: str) -> None:
        application = Application(Collection(collector), telemetry_path=path, title="Tiny")
        assert b"tiny_collections 1.0" in get(application, path).body
        landing_page = get(application, "/")
        if path != "/":
            assert get(application, "/metrics").status == 404
            assert b"<script>" not in landing_page.body

    @pytest.mark.parametrize("path", ["", "metrics", "/-/healthy", "/-/"])
    def test_a_path_that_cannot_be_served_is_refused(self, collector: Counted, path: str) -> None:
        with pytest.raises(ValueError, match="telemetry path"):
            Application(Collection(collector), telemetry_path=path, title="Tiny")


class TestSelection:
    @pytest.fixture
    def application(self, collector: Counted) -> Application:
        def narrow(families: Iterable[Metric], collectors: frozenset[str]) -> Iterator[Metric]:
            return (family for family in families if family.name.removeprefix("tiny_") in collectors)

        selection = Selection(("collections", "events"), narrow)
        return Application(Collection(collector), title="Tiny", selection=selection)

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
    def test_collectors_can_be_chosen(self, application: Application, query: str, families: set[str]) -> None:
        answer = get(application, query=query)
        assert answer.status == 200
        assert {family.name for family in parse_text(answer.body.decode())} == families

    @pytest.mark.parametrize(
        "query", ["collect[]=events&exclude[]=events", "exclude[]=none&collect[]=events"]
    )
    def test_not_both_ways_at_once(self, application: Application, collector: Counted, query: str) -> None:
        answer = get(application, query=query)
        assert (answer.status, answer.body) == (400, b"either collect[] or exclude[], not both\n")
        assert collector.collections == 0

    @pytest.mark.parametrize(
        "query", ["collect[]=none", "exclude[]=<b>", "collect[]=events&collect[]=Events"]
    )
    def test_one_that_is_none_is_answered_with_those_there_are(
        self, application: Application, collector: Counted, query: str
    ) -> None:
        answer = get(application, query=query)
        assert answer.status == 400
        assert answer.body == b"no such collector; those that can be chosen here: collections, events\n"
        assert collector.collections == 0

    def test_those_who_choose_differently_share_a_collection(
        self, application: Application, collector: Counted
    ) -> None:
        async def scenario() -> list[Answer]:
            collector.hold()
            asks = (ask(application, query=query) for query in ("", "collect[]=events", "exclude[]=events"))
            tasks = [asyncio.create_task(each) for each in asks]
            await until(collector.begun)
            await asyncio.sleep(0)
            collector.may_go_on.set()
            return await asyncio.gather(*tasks)

        everything, events, others = asyncio.run(scenario())
        assert collector.collections == 1
        assert others.body + events.body == everything.body


class TestReload:
    @pytest.mark.parametrize("method", ["POST", "PUT"])
    @pytest.mark.parametrize(("works", "status"), [(True, 200), (False, 500)])
    def test_it_is_done_and_told(self, collector: Counted, method: str, works: bool, status: int) -> None:
        reloads: list[None] = []

        def reload() -> bool:
            reloads.append(None)
            return works

        answer = get(
            Application(Collection(collector), title="Tiny", reload=reload), "/-/reload", method=method
        )
        assert (answer.status, len(reloads)) == (status, 1)

    def test_it_is_forbidden_where_it_was_not_enabled(self, application: Application) -> None:
        answer = get(application, "/-/reload", method="POST")
        assert (answer.status, answer.body) == (403, b"not enabled: see --web.enable-lifecycle\n")

    @pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE"])
    def test_it_is_not_done_by_looking(self, collector: Counted, method: str) -> None:
        application = Application(Collection(collector), title="Tiny", reload=lambda: pytest.fail("reloaded"))
        answer = get(application, "/-/reload", method=method)
        assert (answer.status, answer.headers["allow"]) == (405, "POST, PUT")


class Status:
    """A status page that counts how often it is made, and can be held or made to fail."""

    def __init__(self) -> None:
        self.made = 0
        self.thread = ""
        self.begun = threading.Event()
        self.may_go_on = threading.Event()
        self.may_go_on.set()
        self.failure: Exception | None = None

    def __call__(self) -> str:
        self.made += 1
        self.thread = threading.current_thread().name
        self.begun.set()
        assert self.may_go_on.wait(20)
        if self.failure:
            raise self.failure
        return f"<!doctype html>page {self.made}"


@pytest.fixture
def status() -> Iterator[Status]:
    status = Status()
    yield status
    status.may_go_on.set()


class TestStatusPage:
    @pytest.fixture
    def application(self, collector: Counted, status: Status) -> Application:
        return Application(Collection(collector), title="Tiny", status=status)

    def test_it_is_made_anew_for_each_visit(self, application: Application) -> None:
        assert [get(application, "/").body for _ in range(2)] == [
            b"<!doctype html>page 1",
            b"<!doctype html>page 2",
        ]
        assert get(application, "/").headers["content-type"] == "text/html; charset=utf-8"

    def test_no_cache_keeps_it_and_no_browser_loads_or_tells_anything(self, application: Application) -> None:
        headers = get(application, "/").headers
        assert headers["cache-control"] == "no-store"
        assert headers["content-security-policy"].startswith("default-src 'none';")
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["x-content-type-options"] == "nosniff"

    def test_head_is_get_without_the_body(self, application: Application) -> None:
        asked, told = get(application, "/"), get(application, "/", method="HEAD")
        assert (told.status, told.headers, told.body) == (200, asked.headers, b"")

    def test_it_is_made_where_collections_are(self, application: Application, status: Status) -> None:
        assert get(application, "/").status == 200
        assert status.thread.startswith("collection")

    def test_it_collects_nothing(self, application: Application, collector: Counted) -> None:
        get(application, "/")
        assert collector.collections == 0

    def test_where_the_metrics_are_at_its_place_they_win(self, collector: Counted, status: Status) -> None:
        application = Application(Collection(collector), telemetry_path="/", title="Tiny", status=status)
        assert b"tiny_collections 1.0" in get(application, "/").body
        assert status.made == 0

    def test_a_failure_is_told_without_details_and_logged_once(
        self, application: Application, status: Status, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level("INFO")
        status.failure = RuntimeError("secret")
        answers = [get(application, "/") for _ in range(2)]
        status.failure = None
        assert get(application, "/").status == 200
        assert [answer.status for answer in answers] == [500, 500]
        assert b"secret" not in answers[0].body
        ours = [each.getMessage() for each in caplog.records if each.name.startswith("exporter")]
        assert ours == ["Status page failed", "Status page works again"]

    def test_visitors_who_come_together_share_it(self, application: Application, status: Status) -> None:
        async def scenario() -> list[Answer]:
            status.may_go_on.clear()
            first = asyncio.create_task(ask(application, "/"))
            await until(status.begun)
            others = [asyncio.create_task(ask(application, "/")) for _ in range(30)]
            await asyncio.sleep(0)
            status.may_go_on.set()
            return await asyncio.gather(first, *others)

        answers = asyncio.run(scenario())
        assert status.made == 1
        assert {answer.body for answer in answers} == {b"<!doctype html>page 1"}

    def test_visitors_do_not_wait_for_ever(
        self, application: Application, status: Status, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(application_module, "_LONGEST_WAIT", 0.02)

        async def scenario() -> tuple[int, int]:
            status.may_go_on.clear()
            late = await ask(application, "/")
            monkeypatch.undo()
            waiting = asyncio.create_task(ask(application, "/"))
            await asyncio.sleep(0)
            status.may_go_on.set()
            return late.status, (await waiting).status

        assert asyncio.run(scenario()) == (503, 200)
        assert status.made == 1

    def test_a_visitor_who_leaves_takes_nothing_from_the_others(
        self, application: Application, status: Status
    ) -> None:
        async def scenario() -> Answer:
            status.may_go_on.clear()
            leaving, staying = (asyncio.create_task(ask(application, "/")) for _ in range(2))
            await until(status.begun)
            leaving.cancel()
            await asyncio.wait([leaving])
            status.may_go_on.set()
            return await staying

        assert asyncio.run(scenario()).status == 200

    def test_health_is_answered_while_it_is_made(self, application: Application, status: Status) -> None:
        async def scenario() -> int:
            status.may_go_on.clear()
            visit = asyncio.create_task(ask(application, "/"))
            await until(status.begun)
            health = await ask(application, "/-/healthy")
            assert not visit.done()
            status.may_go_on.set()
            await visit
            return health.status

        assert asyncio.run(scenario()) == 200


class TestFailures:
    def test_a_failed_collection_is_told_without_details(
        self, application: Application, collector: Counted, caplog: pytest.LogCaptureFixture
    ) -> None:
        collector.failure = RuntimeError("secret")
        answer = get(application)
        assert (answer.status, answer.headers["content-type"]) == (500, "text/plain; charset=utf-8")
        assert b"secret" not in answer.body
        assert b"Traceback" not in answer.body
        assert [record.getMessage() for record in caplog.records] == ["Collection failed"]
        assert caplog.records[0].exc_info
        assert caplog.records[0].exc_info[1] is collector.failure

    def test_it_is_logged_once_and_so_is_its_end(
        self, application: Application, collector: Counted, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level("INFO")
        collector.failure = TimeoutError("no answer")
        assert [get(application).status for _ in range(3)] == [500, 500, 500]
        collector.failure = None
        assert [get(application).status for _ in range(2)] == [200, 200]
        ours = [each.getMessage() for each in caplog.records if each.name.startswith("exporter")]
        assert ours == ["Collection failed", "Collection works again"]

    def test_a_family_that_cannot_be_written_is_a_failure_too(self, caplog: pytest.LogCaptureFixture) -> None:
        class Wrong:
            def collect(self) -> Iterator[Metric]:
                yield GaugeMetricFamily("wrong", "A value that is no number.", value="x")  # type: ignore[arg-type]

        assert get(Application(Collection(Wrong()), title="Tiny")).status == 500
        assert [record.getMessage() for record in caplog.records] == ["Collection failed"]

    def test_a_scrape_that_cannot_be_in_time_is_told_so_and_the_next_has_its_result(
        self, application: Application, collector: Counted
    ) -> None:
        async def scenario() -> tuple[Answer, Answer]:
            collector.hold()
            late = await ask(application, x_prometheus_scrape_timeout_seconds="0.02")
            waiting = asyncio.create_task(ask(application, x_prometheus_scrape_timeout_seconds="1000"))
            await asyncio.sleep(0)
            collector.may_go_on.set()
            return late, await waiting

        late, served = asyncio.run(scenario())
        assert (late.status, served.status) == (503, 200)
        assert b"tiny_collections 1.0" in served.body

    def test_what_came_too_late_for_everyone_is_not_served_later(
        self, application: Application, collector: Counted
    ) -> None:
        async def scenario() -> Answer:
            collector.hold()
            assert (await ask(application, x_prometheus_scrape_timeout_seconds="0.02")).status == 503
            collector.may_go_on.set()
            # The worker takes its work in order: when this is done, so is what nobody waits for any more.
            await asyncio.wrap_future(application._shared._collection.submit(lambda: None))  # noqa: SLF001
            await asyncio.sleep(0)
            return await ask(application)

        assert b"tiny_collections 2.0" in asyncio.run(scenario()).body

    @pytest.mark.parametrize(
        ("timeout", "waited"), [("10", 9.5), ("0.4", 0.2), ("", 60), ("soon", 60), ("inf", 60)]
    )
    def test_a_share_of_the_timeout_is_left_for_the_way(
        self, application: Application, monkeypatch: pytest.MonkeyPatch, timeout: str, waited: float
    ) -> None:
        waits: list[float] = []
        wait = asyncio.wait

        async def recorded(bodies: list[asyncio.Future[bytes]], **options: float) -> None:
            waits.append(options["timeout"])
            await wait(bodies)

        monkeypatch.setattr(asyncio, "wait", recorded)
        assert get(application, x_prometheus_scrape_timeout_seconds=timeout).status == 200
        assert waits == [waited]

    @pytest.mark.parametrize("timeout", ["", "soon", "0", "-1", "nan", "inf", "1e999"])
    def test_a_timeout_that_is_none_is_ignored(self, application: Application, timeout: str) -> None:
        assert get(application, x_prometheus_scrape_timeout_seconds=timeout).status == 200


class TestLateness:
    """Where it is known what a collection has found so far, a scrape that cannot wait gets that."""

    @pytest.fixture
    def asked_since(self) -> list[float]:
        """What it was asked for: the oldest moment that will do."""
        return []

    @pytest.fixture
    def application(self, collector: Counted, asked_since: list[float]) -> Application:
        def ready(since: float) -> Iterator[Metric]:
            asked_since.append(since)
            if collector.failure:
                raise collector.failure
            yield GaugeMetricFamily("tiny_ready", "Ready.", value=1)
            yield GaugeMetricFamily("tiny_more", "More.", value=1)

        return Application(Collection(collector), title="Tiny", ready=ready)

    def test_what_is_ready_is_answered_and_the_next_shares_the_collection(
        self, application: Application, collector: Counted
    ) -> None:
        async def scenario() -> tuple[Answer, Answer]:
            collector.hold()
            late = await ask(application, x_prometheus_scrape_timeout_seconds="0.02")
            waiting = asyncio.create_task(ask(application, x_prometheus_scrape_timeout_seconds="1000"))
            await asyncio.sleep(0)
            collector.may_go_on.set()
            return late, await waiting

        late, whole = asyncio.run(scenario())
        assert (late.status, whole.status) == (200, 200)
        assert b"tiny_ready 1.0" in late.body
        assert b"tiny_collections" not in late.body
        assert b"tiny_collections 1.0" in whole.body
        assert b"tiny_ready" not in whole.body

    def test_it_is_written_as_it_was_asked_for(self, application: Application, collector: Counted) -> None:
        collector.hold()
        late = get(
            application,
            query="name[]=tiny_more",
            accept=PROMETHEUS_ACCEPT,
            accept_encoding="gzip",
            x_prometheus_scrape_timeout_seconds="0.02",
        )
        assert late.headers["content-type"] == OPEN_METRICS
        assert late.headers["content-encoding"] == "gzip"
        families = parse_open_metrics(gzip.decompress(late.body).decode())
        assert [family.name for family in families] == ["tiny_more"]

    def test_what_was_found_long_before_it_was_asked_for_will_not_do(
        self, application: Application, collector: Counted, asked_since: list[float]
    ) -> None:
        collector.hold()
        before = time.monotonic()
        get(application, x_prometheus_scrape_timeout_seconds="0.02")
        assert [before - 5 <= since <= time.monotonic() - 5 for since in asked_since] == [True]

    def test_it_is_logged_once_and_its_end_when_none_was_late_for_a_while(
        self,
        application: Application,
        collector: Counted,
        caplog: pytest.LogCaptureFixture,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        caplog.set_level("INFO", "exporter")

        async def scenario() -> None:
            collector.hold()
            for _ in range(3):
                await ask(application, x_prometheus_scrape_timeout_seconds="0.02")
            collector.may_go_on.set()
            await ask(application)
            assert [record.levelname for record in caplog.records] == ["WARNING"]
            now = time.monotonic
            monkeypatch.setattr(time, "monotonic", lambda: now() + 61)
            for _ in range(2):
                await ask(application)

        asyncio.run(scenario())
        assert [record.getMessage() for record in caplog.records] == [
            "Scrape answered in part: the collection takes longer than its timeout",
            "Scrapes are answered in time again",
        ]

    def test_a_failure_of_it_is_told_and_logged_as_any_other(
        self, application: Application, collector: Counted, caplog: pytest.LogCaptureFixture
    ) -> None:
        collector.hold()
        collector.failure = RuntimeError("secret")
        late = get(application, x_prometheus_scrape_timeout_seconds="0.02")
        assert (late.status, b"secret" in late.body) == (500, False)
        assert "Answer in part failed" in [record.getMessage() for record in caplog.records]


class TestSharing:
    def share(
        self, collector: Counted, asks: Sequence[Callable[[], Coroutine[Any, Any, Answer]]]
    ) -> list[Answer]:
        """Asks all while one collection is held."""

        async def scenario() -> list[Answer]:
            collector.hold()
            first = asyncio.create_task(asks[0]())
            await until(collector.begun)
            others = [asyncio.create_task(each()) for each in asks[1:]]
            # A task gets one step in each turn of the loop, and needs one to join.
            await asyncio.sleep(0)
            collector.may_go_on.set()
            return await asyncio.gather(first, *others)

        return asyncio.run(scenario())

    def test_scrapes_that_come_together_share_a_collection(
        self, application: Application, collector: Counted
    ) -> None:
        answers = self.share(collector, [lambda: ask(application)] * 30)
        assert collector.collections == 1
        assert answers[0].status == 200
        assert all(answer.body is answers[0].body for answer in answers), "encoded more than once"

    def test_formats_share_it_too(self, application: Application, collector: Counted) -> None:
        text, open_metrics, gzipped, chosen = self.share(
            collector,
            [
                lambda: ask(application),
                lambda: ask(application, accept="application/openmetrics-text"),
                lambda: ask(application, accept_encoding="gzip"),
                lambda: ask(application, query="name[]=tiny_events"),
            ],
        )
        assert collector.collections == 1
        assert open_metrics.headers["content-type"] == OPEN_METRICS
        assert b"tiny_collections 1.0" in open_metrics.body
        assert gzip.decompress(gzipped.body) == text.body
        assert chosen.body == text.body[text.body.index(b"# HELP tiny_events") :]

    def test_a_failure_is_shared(self, application: Application, collector: Counted) -> None:
        collector.failure = RuntimeError("secret")
        answers = self.share(collector, [lambda: ask(application)] * 30)
        assert collector.collections == 1
        assert {answer.status for answer in answers} == {500}

    def test_a_later_scrape_collects_anew(self, application: Application, collector: Counted) -> None:
        self.share(collector, [lambda: ask(application)] * 3)
        assert b"tiny_collections 2.0" in get(application).body

    def test_an_encoding_that_lasts_does_not_part_those_who_share_the_next(self) -> None:
        may_be_encoded = threading.Event()

        class Lasting(Counted):
            def collect(self) -> Iterator[Metric]:
                yield from super().collect()
                yield LastsWhenEncodedAgain(may_be_encoded)

        collector = Lasting()
        application = Application(Collection(collector), title="Tiny")

        async def scenario() -> tuple[Answer, Answer]:
            first = asyncio.create_task(ask(application))
            lasting = asyncio.create_task(ask(application, accept="application/openmetrics-text"))
            await first
            collector.hold()
            second = asyncio.create_task(ask(application))
            await asyncio.sleep(0)
            may_be_encoded.set()
            await lasting
            await until(collector.begun)
            third = asyncio.create_task(ask(application))
            await asyncio.sleep(0)
            collector.may_go_on.set()
            return await asyncio.gather(second, third)

        second, third = asyncio.run(scenario())
        assert collector.collections == 2
        assert third.body is second.body

    def test_a_scraper_that_gives_up_takes_nothing_from_the_others(
        self, application: Application, collector: Counted
    ) -> None:
        async def scenario() -> Answer:
            collector.hold()
            leaving, staying = (asyncio.create_task(ask(application)) for _ in range(2))
            await until(collector.begun)
            leaving.cancel()
            await asyncio.wait([leaving])
            assert leaving.cancelled()
            collector.may_go_on.set()
            return await staying

        assert asyncio.run(scenario()).status == 200

    def test_health_is_answered_while_a_collection_hangs(
        self, application: Application, collector: Counted
    ) -> None:
        async def scenario() -> int:
            collector.hold()
            scrape = asyncio.create_task(ask(application))
            await until(collector.begun)
            health = await ask(application, "/-/healthy")
            assert not scrape.done()
            collector.may_go_on.set()
            await scrape
            return health.status

        assert asyncio.run(scenario()) == 200


class Page(HTMLParser):
    """What a browser would read in a page."""

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
        given = dict(attrs)
        if tag == "html":
            self.language = given["lang"]
        if tag == "a":
            self.links.append(given["href"] or "")
        if tag != "meta":
            self.open_tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open_tags.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open_tags:
            tag = self.open_tags[-1]
            self.texts[tag] = self.texts.get(tag, "") + data
