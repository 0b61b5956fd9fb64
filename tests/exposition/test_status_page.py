"""The page at /, as a browser parses it."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from html.parser import HTMLParser

import pytest

from exporter.exposition.findings.finding import Scope
from exporter.exposition.page import POLICY, PROJECT_URL
from exporter.exposition.report import report
from exporter.exposition.status_page import status_page
from exporter.model.collectors import CollectorName
from exporter.model.process import Unowned
from exporter.model.snapshot import Snapshot
from exporter.model.sockets import ESTABLISHED

from .looks import PRINTD, look, serves, stuck, troubled

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
        for place in self._open:
            self.elements[place][2].append(data)

    def all(self, tag: str) -> list[tuple[dict[str, str | None], str]]:
        return [
            (given, " ".join("".join(text).split())) for name, given, text in self.elements if name == tag
        ]

    def texts(self, tag: str) -> list[str]:
        return [text for _, text in self.all(tag)]


def html(seen: Snapshot, *, with_addresses: bool = True, path: str = "/metrics") -> str:
    told = report(Scope(seen, with_addresses))
    return status_page(told, AT, title="socket-state-exporter", version="1.2.3", telemetry_path=path)


def page(seen: Snapshot) -> Page:
    return Page(html(seen))


def test_it_says_what_explain_says() -> None:
    shown, told = page(troubled()), report(Scope(troubled()))
    assert shown.texts("h3") == [f"{one.severity.value}: {one.title}" for one in told.findings]
    paragraphs, steps = shown.texts("p"), shown.texts("li")
    for finding in told.findings:
        assert finding.detail.replace("`", "") in paragraphs
        for step in finding.advice:
            assert step.replace("`", "") in steps
    for what, remedy in told.blind_spots:
        assert f"{what} {remedy}".replace("`", "") in steps


def test_headings_and_landmarks_lead_through_it() -> None:
    shown = page(troubled())
    assert [(tag, text) for tag in ("h1", "h2") for text in shown.texts(tag)] == [
        ("h1", "socket-state-exporter"),
        ("h2", "3 things to worry about: 2 critical and 1 warning"),
        ("h2", "Sockets by state"),
        ("h2", "What could not be seen"),
    ]
    ids = {given["id"] for given, _ in shown.all("h2")}
    assert {given["aria-labelledby"] for given, _ in shown.all("section")} == ids
    for landmark in ("header", "main", "footer", "nav"):
        assert len(shown.all(landmark)) == 1
    assert shown.all("html")[0][0] == {"lang": "en"}


def test_counts_are_a_table_with_a_caption_and_headers() -> None:
    shown = page(troubled())
    assert shown.texts("caption") == ["17,977 TCP sockets in this network namespace"]
    scopes = [given["scope"] for given, _ in shown.all("th")]
    assert scopes == ["col"] * 3 + ["row"] * 4
    assert [text for given, text in shown.all("th") if given["scope"] == "row"] == [
        "TIME_WAIT",
        "CLOSE_WAIT",
        "ESTABLISHED",
        "LISTEN",
    ]
    assert "None in SYN_SENT, SYN_RECV, FIN_WAIT1, FIN_WAIT2, CLOSE, LAST_ACK, CLOSING." in shown.texts("p")


def test_limits_are_meters_with_labels() -> None:
    shown = page(troubled())
    labels = shown.texts("label")
    assert "File descriptors of pid 4711: 912 of 1,024 (89 %)" in labels
    meters = [given for given, _ in shown.all("meter")]
    assert len(meters) == len(labels) == 4
    assert {"value": "912", "max": "1024", "low": "512", "high": "819", "optimum": "0"} in meters


def test_when_it_looked_is_told_to_people_and_programs() -> None:
    assert page(look()).all("time") == [({"datetime": "2026-11-22T11:40:35Z"}, "2026-11-22 11:40:35 UTC")]


def test_links_lead_to_the_metrics_and_the_readme() -> None:
    targets = {text: given["href"] for given, text in Page(html(look(), path="/a b")).all("a")}
    assert targets == {
        "Metrics": "./a%20b",
        "Health": "./-/healthy",
        "Readiness": "./-/ready",
        "README": f"{PROJECT_URL}#readme",
    }


@pytest.mark.parametrize(
    ("seen", "verdict", "kind"),
    [
        (look(serves(ESTABLISHED, 1)), "Nothing to worry about", "fine"),
        (
            look(serves(ESTABLISHED, 1, owner=Unowned.NOT_FOUND)),
            "Nothing to worry about, as far as could be seen",
            "note",
        ),
        (look(stuck(20)), "1 thing to worry about: 1 warning", "warning"),
        (look(stuck(200)), "1 thing to worry about: 1 critical", "critical"),
        (
            look(
                groups=None,
                listeners=None,
                stuck=None,
                failed=frozenset({CollectorName.STATES, CollectorName.LISTENERS}),
            ),
            "The sockets could not be read",
            "critical",
        ),
    ],
)
def test_the_verdict_is_in_the_title_and_first(seen: Snapshot, verdict: str, kind: str) -> None:
    shown = page(seen)
    assert shown.texts("title") == [f"{verdict} · socket-state-exporter"]
    given, text = shown.all("h2")[0]
    assert (text, given["class"]) == (verdict, kind)


@pytest.mark.parametrize("name", ['<script>alert("1")</script>', "&amp;", "'\"><img src=x>", "a`b`c", "{x}"])
def test_names_are_escaped(name: str) -> None:
    text = html(look(stuck(20), names={PRINTD: name}))
    assert "<script" not in text
    assert "<img" not in text
    assert name.replace("`", "") in Page(text).texts("h3")[0]


def test_addresses_are_shown_only_where_they_may_be() -> None:
    assert "10.0.0.5:5432" in html(troubled())
    assert "10.0.0.5" not in html(troubled(), with_addresses=False)


def test_a_page_stays_small() -> None:
    seen = look(*(stuck(20, port=port) for port in range(1, 2_000)))
    shown = page(seen)
    assert len(shown.all("article")) == 20
    assert "And 1,979 findings more: socket-state-exporter explain --json lists all." in shown.texts("p")


def test_nothing_is_loaded_and_nothing_runs() -> None:
    text = html(troubled())
    shown = Page(text)
    for tag in ("script", "img", "link", "iframe", "form"):
        assert shown.all(tag) == []
    for _, given, _ in shown.elements:
        assert not {"style", "src"} & set(given)
        assert not [name for name in given if name.startswith("on")]
    assert "url(" not in text
    assert "@import" not in text


def test_the_policy_allows_the_style_of_the_page_and_no_more() -> None:
    assert re.fullmatch(r"default-src 'none'; style-src 'sha256-[\w+/]{43}='; .*", POLICY)
