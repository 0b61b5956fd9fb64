"""The runbooks: complete, with working links and existing series only."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from exporter.metrics import catalog

from .. import promql
from .rules import ALERTS, PROMETHEUS, alerts_on_windows, known_series, labels_of, problems, rules

RUNBOOKS: Final = PROMETHEUS / "runbooks"
INDEX: Final = RUNBOOKS / "README.md"
ALL: Final = sorted(RUNBOOKS.glob("*.md"))
OF_ALERTS: Final = [path for path in ALL if path != INDEX]
ALERT_NAMES: Final = {rule["alert"] for rule in rules(ALERTS)}
SECTIONS: Final = ["Meaning", "Impact", "Diagnosis", "Mitigation"]
NEVER_ON_WINDOWS: Final = "**On Windows this alert never fires**"
ONLY_ON_WINDOWS: Final = {"ProcessHandlesGrowing"}
ABOUT_PROMETHEUS: Final = {"SocketAlertThresholdsMissing"}
"""Alerts that are about no host."""

each = pytest.mark.parametrize("path", ALL, ids=lambda path: path.stem)
each_alert_runbook = pytest.mark.parametrize("path", OF_ALERTS, ids=lambda path: path.stem)


def snippets(path: Path) -> Iterator[str]:
    """Yield the PromQL expressions: one per block or one per line."""
    for block in re.findall(r"```promql\n(.*?)```", path.read_text(), re.DOTALL):
        try:
            promql.parse(block)
        except ValueError:
            yield from filter(None, map(str.strip, block.splitlines()))
        else:
            yield block


def anchors(path: Path) -> set[str]:
    """Return the anchors of a file, derived from its headings like GitHub does."""
    headings = re.findall(r"^#+ (.+)$", path.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_each_alert_has_one_runbook() -> None:
    assert {path.stem for path in OF_ALERTS} == ALERT_NAMES


@each_alert_runbook
def test_runbook_has_the_four_sections_and_one_for_windows(path: Path) -> None:
    fires_on_both = path.stem in alerts_on_windows() - ONLY_ON_WINDOWS
    assert re.findall(r"^(#+ .+)$", without_blocks(path), re.MULTILINE) == [
        f"# {path.stem}",
        *(f"## {section}" for section in SECTIONS),
        *(["## Windows"] if fires_on_both else []),
    ]


@each_alert_runbook
def test_runbook_has_steps_on_windows_or_says_that_it_never_fires_there(path: Path) -> None:
    text = path.read_text()
    fires = path.stem in alerts_on_windows()
    assert (NEVER_ON_WINDOWS in text) == (not fires and path.stem not in ABOUT_PROMETHEUS)
    assert (
        "```powershell" in text.partition("## Windows")[2 if path.stem not in ONLY_ON_WINDOWS else 0]
    ) == fires


@each_alert_runbook
def test_linux_commands_are_not_in_the_section_on_windows(path: Path) -> None:
    windows = path.read_text().partition("## Windows")[2]
    assert not re.findall(r"```sh|\bsudo\b|\bsysctl\b|\bss -|systemctl|/proc/", windows)


@each
def test_runbook_links_exist(path: Path) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", without_blocks(path)):
        if target.startswith(("https://", "http://")):
            continue
        name, _, anchor = target.partition("#")
        found = (path.parent / name).resolve() if name else path
        assert found.exists(), target
        assert not anchor or anchor in anchors(found), target


@each
def test_runbook_queries_use_existing_series_and_labels(path: Path) -> None:
    assert {snippet: problems(snippet) for snippet in snippets(path)} == {
        snippet: [] for snippet in snippets(path)
    }


@each
def test_series_in_runbook_exist(path: Path) -> None:
    families = {metric.name for metric in catalog.METRICS}
    named = {name for name in re.findall(r"[\w:]+", path.read_text()) if re.search(r"(?:^|:)socket_\w", name)}
    assert named - known_series().keys() - families == set()


def test_index_lists_each_alert_with_its_severities() -> None:
    severities: dict[str, set[str]] = {name: set() for name in ALERT_NAMES}
    for rule in rules(ALERTS):
        severities[rule["alert"]].add(labels_of(rule)["severity"])
    text = INDEX.read_text()
    for name, levels in severities.items():
        (line,) = [line for line in text.splitlines() if line.startswith(f"| [{name}]")]
        assert {level for level in ("warning", "critical") if level in line.split("|")[2]} == levels, line


def without_blocks(path: Path) -> str:
    return re.sub(r"^ *```.*?^ *```$", "", path.read_text(), flags=re.DOTALL | re.MULTILINE)
