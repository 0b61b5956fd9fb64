"""The committed dashboards: up to date, complete layout, working links, consistent colors."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from exporter.model.sockets import STATE_NAMES

from ..deploy.rules import ALERTS, PROMETHEUS, rules, thresholds
from .dashboards import (
    DASHBOARDS,
    GRAFANA,
    Json,
    each_dashboard,
    panel_queries,
    panels,
    panels_and_headers,
    variables,
)

ROOT: Final = GRAFANA.parent
WIDTH: Final = 24
UIDS: Final = {
    "fleet": "sockets-fleet",
    "host": "sockets-host",
    "process": "sockets-process",
    "exporter": "sockets-exporter",
}
"""Uids are part of URLs that users have bookmarked or linked: they must not change."""


def test_dashboards_are_up_to_date(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONSAFEPATH"}
    environment["PYTHONPATH"] = os.pathsep.join([str(ROOT), environment.get("PYTHONPATH", "")])
    subprocess.run([sys.executable, "-m", "grafana", tmp_path], cwd=ROOT, env=environment, check=True)
    generated = {path.relative_to(tmp_path): path.read_text() for path in tmp_path.rglob("*.*")}
    assert {path: (GRAFANA / path).read_text() for path in generated} == generated, "run `make dashboards`"
    assert len(generated) == len(DASHBOARDS) + 1


def test_dashboard_uids_are_stable() -> None:
    assert {name: dashboard["uid"] for name, dashboard in DASHBOARDS.items()} == UIDS


@each_dashboard
def test_dashboard_can_be_imported_and_provisioned(name: str) -> None:
    dashboard = DASHBOARDS[name]
    assert not dashboard.keys() & {"__inputs", "__requires", "__elements", "id", "version"}
    assert "${DS_" not in str(dashboard)
    assert dashboard["schemaVersion"] <= 39, "Grafana 10.4 has 39"


@each_dashboard
def test_panels_fill_the_grid_without_overlap(name: str) -> None:
    # Where every collapsed row is opened, which moves nothing if it is the last one.
    taken = [
        (x, y)
        for panel in panels_and_headers(DASHBOARDS[name])
        for place in (panel["gridPos"],)
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    bottom = max(y for _, y in taken) + 1
    assert sorted(taken) == [(x, y) for x in range(WIDTH) for y in range(bottom)]


@each_dashboard
def test_panel_ids_are_unique(name: str) -> None:
    numbers = [panel["id"] for panel in panels_and_headers(DASHBOARDS[name])]
    assert len(set(numbers)) == len(numbers)


@each_dashboard
def test_variables_are_defined_and_used(name: str) -> None:
    there = variables(DASHBOARDS[name]).keys() | {"__rate_interval", "__range", "__url_time_range"}
    text = str(DASHBOARDS[name])
    used = set(re.findall(r"\$\{?([a-zA-Z_]\w*)", text)) - {"__all", "__data", "__field"}
    assert used <= there
    assert variables(DASHBOARDS[name]).keys() <= used


def links(thing: Any) -> Iterator[Json]:
    """Yield every object with a URL."""
    if isinstance(thing, dict):
        if "url" in thing:
            yield thing
        thing = list(thing.values())
    if isinstance(thing, list):
        for one in thing:
            yield from links(one)


@each_dashboard
def test_links_lead_to_existing_dashboards_and_runbooks(name: str) -> None:
    index = f"{RUNBOOKS}/README.md"
    alerts = {rule["annotations"]["runbook_url"] for rule in rules(ALERTS)}
    for link in links(DASHBOARDS[name]):
        url = link["url"]
        if url.startswith("/d/"):
            assert url.partition("?")[0].removeprefix("/d/") in UIDS.values()
        elif url:
            assert url in {*alerts, index, f"{RUNBOOKS}/${{__data.fields.Alert}}.md"}
            assert (PROMETHEUS / "runbooks" / url.rpartition("/")[2]).is_file() or "${" in url


RUNBOOKS: Final = (
    "https://github.com/socket-state-exporter/socket-state-exporter/blob/main/deploy/prometheus/runbooks"
)


@each_dashboard
def test_dashboard_links_keep_time_range_and_variables(name: str) -> None:
    dashboard = DASHBOARDS[name]
    (others,) = [link for link in dashboard["links"] if link["type"] == "dashboards"]
    assert (others["keepTime"], others["includeVars"]) == (True, True)
    assert set(others["tags"]) <= set(dashboard["tags"])
    inner = [link for link in links(dashboard) if link["url"].startswith("/d/")]
    assert inner
    for link in inner:
        for kept in ("var-instance=", "${datasource:queryparam}", "${job:queryparam}", "${__url_time_range}"):
            assert kept in link["url"]


@each_dashboard
def test_data_link_fields_exist(name: str) -> None:
    for panel in panels(DASHBOARDS[name]):
        headings = [
            heading
            for one in panel.get("transformations", ())
            for heading in one["options"].get("renameByName", {}).values()
        ]
        wanted = re.findall(r"\$\{__data\.fields\.(\w+)", str(panel.get("fieldConfig")))
        assert set(wanted) <= set(headings), panel["title"]


@each_dashboard
def test_firing_alerts_are_annotated(name: str) -> None:
    marks = {mark["name"]: mark["iconColor"] for mark in DASHBOARDS[name]["annotations"]["list"]}
    assert marks == {"Alerts: critical": "red", "Alerts: warning": "orange"}


def test_every_alert_has_a_panel_that_links_its_runbook() -> None:
    linked = {
        link["title"].removeprefix("Runbook: ")
        for dashboard in DASHBOARDS.values()
        for panel in panels(dashboard)
        for link in panel.get("links", ())
    }
    assert {rule["alert"] for rule in rules(ALERTS)} <= linked


def series_colors(dashboard: Json) -> Iterator[tuple[str, str]]:
    """Yield (series name, color) for each series with a color of its own."""
    for panel in panels(dashboard):
        for override in panel.get("fieldConfig", {}).get("overrides", ()):
            for one in override["properties"]:
                if one["id"] == "color" and "fixedColor" in one["value"]:
                    yield override["matcher"]["options"], one["value"]["fixedColor"]


def test_each_state_has_one_unique_color() -> None:
    colors: dict[str, set[str]] = {}
    for dashboard in DASHBOARDS.values():
        for name, color in series_colors(dashboard):
            colors.setdefault(name, set()).add(color)
    assert {name for name, used in colors.items() if len(used) > 1} == set()
    state_colors = [colors[state].pop() for state in STATE_NAMES.values()]
    assert len(set(state_colors)) == len(state_colors)


PROBLEM_SERIES: Final = {"critical threshold", "skipped", "queue full", "error"}
"""Series that indicate a problem whenever they are not zero."""


def is_red(color: str) -> bool:
    if not color.startswith("#"):
        return color.rpartition("-")[2] == "red"
    red, green, blue = bytes.fromhex(color[1:])
    return red > 1.5 * max(green, blue)


def test_is_red() -> None:
    colors = ("red", "dark-red", "#F2495C", "orange", "#B0C4DE", "transparent")
    assert [is_red(color) for color in colors] == [True, True, True, False, False, False]


def test_only_problems_are_red() -> None:
    for dashboard in DASHBOARDS.values():
        assert {name for name, color in series_colors(dashboard) if is_red(color)} <= PROBLEM_SERIES
        for panel in panels(dashboard):
            defaults = panel.get("fieldConfig", {}).get("defaults", {})
            # Grafana's palettes contain red.
            assert defaults.get("color", {}).get("mode") in {"shades", "thresholds", None}
            assert not is_red(defaults.get("color", {}).get("fixedColor", ""))


def steps(panel: Json) -> Iterator[list[Json]]:
    config = panel.get("fieldConfig", {})
    all_thresholds = [config.get("defaults", {}).get("thresholds")]
    all_thresholds += [
        setting["value"]
        for override in config.get("overrides", ())
        for setting in override["properties"]
        if setting["id"] == "thresholds"
    ]
    for found in all_thresholds:
        if found:
            yield found["steps"]


def test_color_steps_are_alert_thresholds() -> None:
    numbers = set(thresholds().values()) | {1.0}
    for dashboard in DASHBOARDS.values():
        for panel in panels(dashboard):
            for each in steps(panel):
                assert {step["value"] for step in each[1:]} <= numbers, panel["title"]


def test_step_color_matches_threshold_severity() -> None:
    severities = {
        value: {severity for (_, severity), other in thresholds().items() if other == value}
        for value in thresholds().values()
    }
    for dashboard in DASHBOARDS.values():
        for panel in panels(dashboard):
            for each in steps(panel):
                for step in each[1:]:
                    if step["color"] == "red" and step["value"] != 1:
                        assert "critical" in severities[step["value"]], panel["title"]


def test_threshold_lines_are_threshold_series() -> None:
    drawn = {
        query.expression for query in panel_queries() if query.expression.startswith("socket:threshold:")
    }
    existing = {
        f"socket:threshold:{name}" + (f'{{severity="{severity}"}}' if severity else "")
        for name, severity in thresholds()
    }
    assert drawn
    assert drawn <= existing


@pytest.mark.parametrize("name", ["fleet", "host", "process"])
def test_stat_row_has_alerts_close_wait_and_time_left(name: str) -> None:
    first = [panel["title"] for panel in panels(DASHBOARDS[name]) if panel["gridPos"]["y"] == 0]
    assert {"Alerts: critical", "Stuck sockets", "Oldest CLOSE_WAIT", "Time left"} <= set(first)
