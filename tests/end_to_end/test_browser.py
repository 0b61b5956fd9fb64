"""The status page in a real browser: content, light and dark mode, accessibility."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from exporter.diagnosis.finding import DiagnosisInput
from exporter.diagnosis.report import build_report
from exporter.rendering.html import render_landing_page

from ..rendering.test_html import html
from ..running import Exporter, running
from ..snapshots import make_snapshot, problem_snapshot
from ..tools import require
from .chromium import Tab, chromium

pytestmark = [pytest.mark.browser, require("chromium")]

PAGES: Final = {
    "troubled": html(problem_snapshot()),
    "quiet": html(make_snapshot()),
    "links": render_landing_page("socket-state-exporter", "TCP sockets", "/metrics"),
}

CONTRASTS: Final = """
(() => {
  const number = channel => (channel /= 255) <= .04045 ? channel / 12.92 : ((channel + .055) / 1.055) ** 2.4;
  const colour = text => text.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => .2126 * number(r) + .7152 * number(g) + .0722 * number(b);
  const behind = element => {
    for (; element; element = element.parentElement) {
      const [r, g, b, alpha = 1] = colour(getComputedStyle(element).backgroundColor);
      if (alpha === 1) return [r, g, b];
    }
    return [255, 255, 255];
  };
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT, node =>
    node.data.trim() ? NodeFilter.FILTER_ACCEPT : NodeFilter.FILTER_SKIP);
  const found = [];
  while (texts.nextNode()) {
    const element = texts.currentNode.parentElement;
    const both = [colour(getComputedStyle(element).color), behind(element)].map(light);
    found.push([(Math.max(...both) + .05) / (Math.min(...both) + .05), texts.currentNode.data.trim()]);
  }
  return found;
})()
"""
"""The contrast of all text with its background: https://www.w3.org/TR/WCAG22/#dfn-contrast-ratio."""

BROKEN: Final = """
[...document.querySelectorAll("th[scope=row], td.number")].filter(cell => {
  const content = document.createRange();
  content.selectNodeContents(cell);
  return new Set([...content.getClientRects()].map(place => place.bottom)).size > 1;
}).map(cell => cell.textContent)
"""
"""Names of states and processes, and numbers, that are broken across lines."""


@pytest.fixture(scope="module")
def tab() -> Iterator[Tab]:
    with chromium() as opened:
        yield opened


@pytest.fixture
def exporter(tmp_path: Path) -> Iterator[Exporter]:
    with running(tmp_path / "log") as started:
        yield started


def show(tab: Tab, name: str, directory: Path, **how: Any) -> None:
    page = directory / f"{name}.html"
    page.write_text(PAGES[name])
    tab.open(page.as_uri(), **how)


def test_page_shows_the_served_content(tab: Tab, exporter: Exporter) -> None:
    tab.requested.clear()
    tab.complaints.clear()
    tab.open(f"{exporter.url}/")
    assert tab.run("document.querySelector('h2').textContent")
    assert tab.run("document.querySelectorAll('tbody tr').length") >= 1
    # The style is applied, which the policy in the header could forbid.
    assert tab.run("getComputedStyle(document.querySelector('table')).borderCollapse") == "collapse"
    assert tab.complaints == []
    # A browser asks for the icon by itself.
    assert set(tab.requested) <= {f"{exporter.url}/", f"{exporter.url}/favicon.ico"}


def test_links_lead_to_the_metrics(tab: Tab, exporter: Exporter) -> None:
    tab.open(f"{exporter.url}/")
    targets = tab.run("[...document.querySelectorAll('a')].map(link => link.href)")
    assert targets[:3] == [f"{exporter.url}/{path}" for path in ("metrics", "-/healthy", "-/ready")]
    assert targets[3].startswith("https://")


def test_accessibility_tree_has_the_same_content(tab: Tab, tmp_path: Path) -> None:
    show(tab, "troubled", tmp_path)
    result, report = tab.accessible(), build_report(DiagnosisInput(problem_snapshot()))
    for role in ("banner", "main", "contentinfo"):
        assert (role, "") in result
    for heading in (
        "socket-state-exporter",
        "3 problems found: 2 critical and 1 warning",
        "Processes",
        "Sockets by state",
        "Data that could not be read",
        *(f"{finding.severity.value.upper()}: {finding.title}" for finding in report.findings),
    ):
        assert ("heading", heading) in result
    for region in ("Processes", "Sockets by state", "Data that could not be read"):
        assert ("region", region) in result
    for expected in (
        ("navigation", "Other pages"),
        ("table", "17,977 TCP sockets in this network namespace"),
        ("columnheader", "Sockets"),
        ("rowheader", "CLOSE_WAIT"),
        ("table", "Most sockets in CLOSE_WAIT"),
        ("rowheader", "printd (pid 4711)"),
        ("cell", "inbound to port 631"),
        ("cell", "415"),
        ("meter", "File descriptors of pid 4711: 912 of 1,024 (89 %)"),
        ("list", "What to do"),
        ("link", "Metrics"),
    ):
        assert expected in result


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("name", PAGES)
def test_text_has_sufficient_contrast(tab: Tab, tmp_path: Path, name: str, dark: bool) -> None:
    show(tab, name, tmp_path, dark=dark)
    contrasts = tab.run(CONTRASTS)
    assert contrasts
    assert [words for contrast, words in contrasts if contrast < 4.5] == []
    luminance = tab.run("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)")
    assert (max(luminance) < 64) if dark else (min(luminance) > 192)


@pytest.mark.parametrize("width", [320, 768, 1920])
@pytest.mark.parametrize("name", PAGES)
def test_page_fits_every_window_size(tab: Tab, tmp_path: Path, name: str, width: int) -> None:
    show(tab, name, tmp_path, width=width)
    assert tab.run("document.documentElement.scrollWidth") <= width
    # Processes can have many pids: their names are broken where there is no room.
    names = {"printd (pid 4711)", "app (pid 20)", "unknown processes"} if width < 768 else set()
    assert set(tab.run(BROKEN)) <= names


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_page_can_be_printed_and_captured(tab: Tab, tmp_path: Path, dark: bool) -> None:
    show(tab, "troubled", tmp_path, dark=dark)
    picture = tmp_path / "page.png"
    tab.picture(picture)
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert picture.stat().st_size > 10_000
