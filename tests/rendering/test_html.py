"""The status page, as a browser parses it."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from html.parser import HTMLParser

import pytest

from exporter.diagnosis.finding import DiagnosisInput
from exporter.diagnosis.report import build_report
from exporter.model.collectors import CollectorName
from exporter.model.process import Unowned
from exporter.model.snapshot import Snapshot
from exporter.model.sockets import ESTABLISHED
from exporter.rendering.html import CONTENT_SECURITY_POLICY, PROJECT_URL, render_status_page

from ..diagnosis.helpers import near_limit_snapshot
from ..snapshots import PRINTD, close_wait, dead, inbound, make_snapshot, problem_snapshot

AT = datetime(2026, 11, 22, 11, 40, 35, 999, UTC)
VOID = {"meta", "br", "link"}


class Page(HTMLParser):
    """The elements of a page, each with its attributes and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None], list[str]]] = []
        self._open: list[int] = []
        assert text.startswith("<!doctype html>\n")
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs), []))
        if tag not in VOID:
            self._open.append(len(self.elements) - 1)

    def handle_endtag(self, tag: str) -> None:
        assert self.elements[self._open.pop()][0] == tag

    def handle_data(self, data: str) -> None:
        for index in self._open:
            self.elements[index][2].append(data)

    def all(self, tag: str) -> list[tuple[dict[str, str | None], str]]:
        return [
            (attributes, " ".join("".join(text).split()))
            for name, attributes, text in self.elements
            if name == tag
        ]

    def texts(self, tag: str) -> list[str]:
        return [text for _, text in self.all(tag)]


def html(snapshot: Snapshot, *, with_addresses: bool = True, path: str = "/metrics") -> str:
    report = build_report(DiagnosisInput(snapshot, with_addresses))
    return render_status_page(report, AT, title="socket-state-exporter", version="1.2.3", telemetry_path=path)


def page(snapshot: Snapshot) -> Page:
    return Page(html(snapshot))


def test_page_has_the_findings_of_explain() -> None:
    shown, report = page(problem_snapshot()), build_report(DiagnosisInput(problem_snapshot()))
    assert shown.texts("h3") == [f"{finding.severity.value}: {finding.title}" for finding in report.findings]
    paragraphs, steps = shown.texts("p"), shown.texts("li")
    for finding in report.findings:
        assert finding.detail.replace("`", "") in paragraphs
        for step in finding.steps:
            assert step.replace("`", "") in steps
    for description, remedy in report.blind_spots:
        assert f"{description} {remedy}".replace("`", "") in steps


def test_headings_and_landmarks() -> None:
    shown = page(problem_snapshot())
    assert [(tag, text) for tag in ("h1", "h2") for text in shown.texts(tag)] == [
        ("h1", "socket-state-exporter"),
        ("h2", "3 problems found: 2 critical and 1 warning"),
        ("h2", "Processes"),
        ("h2", "Sockets by state"),
        ("h2", "Data that could not be read"),
    ]
    ids = {attributes["id"] for attributes, _ in shown.all("h2")}
    assert {attributes["aria-labelledby"] for attributes, _ in shown.all("section")} == ids
    for landmark in ("header", "main", "footer", "nav"):
        assert len(shown.all(landmark)) == 1
    assert shown.all("html")[0][0] == {"lang": "en"}


def test_states_are_a_table_with_caption_and_headers() -> None:
    shown = page(problem_snapshot())
    assert shown.texts("caption") == [
        "Most sockets in CLOSE_WAIT",
        "Most sockets in TIME_WAIT, each for at most 60 s",
        "17,977 TCP sockets in this network namespace",
    ]
    scopes = [attributes["scope"] for attributes, _ in shown.all("th")]
    # TIME_WAIT has no ages.
    assert scopes == ["col"] * 4 + ["row"] * 2 + ["col"] * 3 + ["row"] * 2 + ["col"] * 3 + ["row"] * 4
    assert [text for attributes, text in shown.all("th") if attributes["scope"] == "row"] == [
        "printd (pid 4711)",
        "app (pid 20)",
        "unknown processes",
        "app (pid 20)",
        "TIME_WAIT",
        "CLOSE_WAIT",
        "ESTABLISHED",
        "LISTEN",
    ]
    assert "None in SYN_SENT, SYN_RECV, FIN_WAIT1, FIN_WAIT2, CLOSE, LAST_ACK, CLOSING." in shown.texts("p")


def test_processes_with_most_sockets_are_listed_without_problems() -> None:
    shown = page(make_snapshot(close_wait(3, age=30), dead_fds=dead(2)))
    assert shown.texts("h2")[:2] == ["No problems found", "Processes"]
    assert shown.texts("td")[:3] == ["3", "inbound to port 631", "30 s"]
    assert "Most dead file descriptors (TCP sockets in no kernel table)" in shown.texts("caption")


def test_usages_are_meters_with_labels() -> None:
    shown = page(problem_snapshot())
    labels = shown.texts("label")
    assert "File descriptors of pid 4711: 912 of 1,024 (89 %)" in labels
    meters = [attributes for attributes, _ in shown.all("meter")]
    assert len(meters) == len(labels) == 4
    assert {"value": "912", "max": "1024", "low": "512", "high": "819", "optimum": "0"} in meters


def test_time_of_the_snapshot() -> None:
    assert page(make_snapshot()).all("time") == [
        ({"datetime": "2026-11-22T11:40:35Z"}, "2026-11-22 11:40:35 UTC")
    ]


def test_links() -> None:
    targets = {
        text: attributes["href"] for attributes, text in Page(html(make_snapshot(), path="/a b")).all("a")
    }
    assert targets == {
        "Metrics": "./a%20b",
        "Health": "./-/healthy",
        "Readiness": "./-/ready",
        "README": f"{PROJECT_URL}#readme",
    }


@pytest.mark.parametrize(
    ("snapshot", "summary", "kind"),
    [
        (make_snapshot(inbound(ESTABLISHED, 1)), "No problems found", "ok"),
        (
            make_snapshot(inbound(ESTABLISHED, 1, owner=Unowned.NOT_FOUND)),
            "No problems found, but some data could not be read",
            "note",
        ),
        (near_limit_snapshot(), "No problems found, but 1 limit is nearly reached", "note"),
        (make_snapshot(close_wait(20)), "1 problem found: 1 warning", "warning"),
        (make_snapshot(close_wait(200)), "1 problem found: 1 critical", "critical"),
        (
            make_snapshot(
                groups=None,
                listeners=None,
                close_wait=None,
                failed=frozenset({CollectorName.STATES, CollectorName.LISTENERS}),
            ),
            "The sockets could not be read",
            "critical",
        ),
    ],
)
def test_summary_is_title_and_first_heading(snapshot: Snapshot, summary: str, kind: str) -> None:
    shown = page(snapshot)
    assert shown.texts("title") == [f"{summary} · socket-state-exporter"]
    attributes, text = shown.all("h2")[0]
    assert (text, attributes["class"]) == (summary, kind)


@pytest.mark.parametrize("name", ['<script>alert("1")</script>', "&amp;", "'\"><img src=x>", "a`b`c", "{x}"])
def test_names_are_escaped(name: str) -> None:
    text = html(make_snapshot(close_wait(20), names={PRINTD: name}))
    assert "<script" not in text
    assert "<img" not in text
    assert name.replace("`", "") in Page(text).texts("h3")[0]


def test_addresses_appear_only_if_permitted() -> None:
    assert "10.0.0.5:5432" in html(problem_snapshot())
    assert "10.0.0.5" not in html(problem_snapshot(), with_addresses=False)


def test_page_shows_20_findings_and_counts_the_rest() -> None:
    snapshot = make_snapshot(*(close_wait(20, port=port) for port in range(1, 2_000)))
    shown = page(snapshot)
    assert len(shown.all("article")) == 20
    assert "1,979 more findings: socket-state-exporter explain --json lists all." in shown.texts("p")


def test_page_loads_and_runs_nothing() -> None:
    text = html(problem_snapshot())
    shown = Page(text)
    for tag in ("script", "img", "link", "iframe", "form"):
        assert shown.all(tag) == []
    for _, attributes, _ in shown.elements:
        assert not {"style", "src"} & set(attributes)
        assert not [name for name in attributes if name.startswith("on")]
    assert "url(" not in text
    assert "@import" not in text


def test_policy_allows_only_the_style_of_the_page() -> None:
    assert re.fullmatch(r"default-src 'none'; style-src 'sha256-[\w+/]{43}='; .*", CONTENT_SECURITY_POLICY)
