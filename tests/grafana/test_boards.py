"""What the dashboards promise: made anew they are the same, full of panels, and of one mind about colours."""

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
from .boards import BOARDS, GRAFANA, Json, each_board, panels, questions, variables

ROOT: Final = GRAFANA.parent
WIDTH: Final = 24
UIDS: Final = {
    "fleet": "sockets-fleet",
    "host": "sockets-host",
    "process": "sockets-process",
    "exporter": "sockets-exporter",
}
"""Links of others lead to them: they stay as they are."""


def test_made_anew_they_are_the_same(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONSAFEPATH"}
    environment["PYTHONPATH"] = str(ROOT)
    subprocess.run([sys.executable, "-m", "grafana", tmp_path], cwd=ROOT, env=environment, check=True)
    made = {path.relative_to(tmp_path): path.read_text() for path in tmp_path.rglob("*.*")}
    assert {path: (GRAFANA / path).read_text() for path in made} == made, "run `make dashboards`"
    assert len(made) == len(BOARDS) + 1


def test_there_are_four_whose_uids_stay() -> None:
    assert {name: board["uid"] for name, board in BOARDS.items()} == UIDS


@each_board
def test_it_can_be_imported_by_hand_and_provisioned(name: str) -> None:
    board = BOARDS[name]
    assert not board.keys() & {"__inputs", "__requires", "__elements", "id", "version"}
    assert "${DS_" not in str(board)
    assert board["schemaVersion"] <= 39, "Grafana 10.4 has 39"


@each_board
def test_its_panels_fill_the_grid_and_do_not_overlap(name: str) -> None:
    taken = [
        (x, y)
        for panel in BOARDS[name]["panels"]
        for place in (panel["gridPos"],)
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    bottom = max(y for _, y in taken) + 1
    assert sorted(taken) == [(x, y) for x in range(WIDTH) for y in range(bottom)]


@each_board
def test_its_panels_have_numbers_of_their_own(name: str) -> None:
    numbers = [panel["id"] for panel in BOARDS[name]["panels"]]
    assert len(set(numbers)) == len(numbers)


@each_board
def test_every_variable_is_used_and_every_one_used_is_there(name: str) -> None:
    there = variables(BOARDS[name]).keys() | {"__rate_interval", "__range", "__url_time_range"}
    text = str(BOARDS[name])
    used = set(re.findall(r"\$\{?(\w+)", text)) - {"__all", "__data", "__field"}
    assert used <= there
    assert variables(BOARDS[name]).keys() <= used


def links(thing: Any) -> Iterator[Json]:
    """Everything below that leads somewhere."""
    if isinstance(thing, dict):
        if "url" in thing:
            yield thing
        thing = list(thing.values())
    if isinstance(thing, list):
        for one in thing:
            yield from links(one)


@each_board
def test_links_lead_to_boards_and_runbooks_that_there_are(name: str) -> None:
    index = f"{RUNBOOKS}/README.md"
    alerts = {rule["annotations"]["runbook_url"] for rule in rules(ALERTS)}
    for link in links(BOARDS[name]):
        url = link["url"]
        if url.startswith("/d/"):
            assert url.partition("?")[0].removeprefix("/d/") in UIDS.values()
        elif url:
            assert url in {*alerts, index, f"{RUNBOOKS}/${{__data.fields.Alert}}.md"}
            assert (PROMETHEUS / "runbooks" / url.rpartition("/")[2]).is_file() or "${" in url


RUNBOOKS: Final = (
    "https://github.com/socket-state-exporter/socket-state-exporter/blob/main/deploy/prometheus/runbooks"
)


@each_board
def test_links_between_boards_keep_time_range_and_variables(name: str) -> None:
    board = BOARDS[name]
    (others,) = [link for link in board["links"] if link["type"] == "dashboards"]
    assert (others["keepTime"], others["includeVars"]) == (True, True)
    assert set(others["tags"]) <= set(board["tags"])
    inner = [link for link in links(board) if link["url"].startswith("/d/")]
    assert inner
    for link in inner:
        for kept in ("var-instance=", "${datasource:queryparam}", "${job:queryparam}", "${__url_time_range}"):
            assert kept in link["url"]


@each_board
def test_the_field_that_a_link_takes_a_value_from_is_there(name: str) -> None:
    for panel in panels(BOARDS[name]):
        headings = [
            heading
            for one in panel.get("transformations", ())
            for heading in one["options"].get("renameByName", {}).values()
        ]
        wanted = re.findall(r"\$\{__data\.fields\.(\w+)", str(panel.get("fieldConfig")))
        assert set(wanted) <= set(headings), panel["title"]


@each_board
def test_alerts_that_fire_are_marked(name: str) -> None:
    marks = {mark["name"]: mark["iconColor"] for mark in BOARDS[name]["annotations"]["list"]}
    assert marks == {"Alerts: critical": "red", "Alerts: warning": "orange"}


def test_every_alert_has_a_panel_that_links_its_runbook() -> None:
    linked = {
        link["title"].removeprefix("Runbook: ")
        for board in BOARDS.values()
        for panel in panels(board)
        for link in panel.get("links", ())
    }
    assert {rule["alert"] for rule in rules(ALERTS)} <= linked


def coloured(board: Json) -> Iterator[tuple[str, str]]:
    """(name of a series, its colour) of each that has one."""
    for panel in panels(board):
        for override in panel.get("fieldConfig", {}).get("overrides", ()):
            for one in override["properties"]:
                if one["id"] == "color" and "fixedColor" in one["value"]:
                    yield override["matcher"]["options"], one["value"]["fixedColor"]


def test_a_state_has_one_colour_everywhere_and_no_two_have_the_same() -> None:
    colours: dict[str, set[str]] = {}
    for board in BOARDS.values():
        for name, colour in coloured(board):
            colours.setdefault(name, set()).add(colour)
    assert {name for name, found in colours.items() if len(found) > 1} == set()
    of_states = [colours[state].pop() for state in STATE_NAMES.values()]
    assert len(set(of_states)) == len(of_states)


TROUBLE: Final = {"critical from", "skipped", "queue full", "error"}
"""Series that are trouble whenever they are not zero."""


def is_red(colour: str) -> bool:
    if not colour.startswith("#"):
        return colour.rpartition("-")[2] == "red"
    red, green, blue = bytes.fromhex(colour[1:])
    return red > 1.5 * max(green, blue)


def test_what_is_red_is_known() -> None:
    colours = ("red", "dark-red", "#F2495C", "orange", "#B0C4DE", "transparent")
    assert [is_red(colour) for colour in colours] == [True, True, True, False, False, False]


def test_only_trouble_is_red() -> None:
    for board in BOARDS.values():
        assert {name for name, colour in coloured(board) if is_red(colour)} <= TROUBLE
        for panel in panels(board):
            defaults = panel.get("fieldConfig", {}).get("defaults", {})
            # The palettes have red in them.
            assert defaults.get("color", {}).get("mode") in {"shades", "thresholds", None}
            assert not is_red(defaults.get("color", {}).get("fixedColor", ""))


def steps(panel: Json) -> Iterator[list[Json]]:
    config = panel.get("fieldConfig", {})
    found = [config.get("defaults", {}).get("thresholds")]
    found += [
        one["value"]
        for override in config.get("overrides", ())
        for one in override["properties"]
        if one["id"] == "thresholds"
    ]
    for each in found:
        if each:
            yield each["steps"]


def test_where_colours_change_is_where_the_alerts_do() -> None:
    numbers = set(thresholds().values()) | {1.0}
    for board in BOARDS.values():
        for panel in panels(board):
            for each in steps(panel):
                assert {step["value"] for step in each[1:]} <= numbers, panel["title"]


def test_colours_of_a_level_are_those_of_its_severity() -> None:
    severities = {
        value: {severity for (_, severity), other in thresholds().items() if other == value}
        for value in thresholds().values()
    }
    for board in BOARDS.values():
        for panel in panels(board):
            for each in steps(panel):
                for step in each[1:]:
                    if step["color"] == "red" and step["value"] != 1:
                        assert "critical" in severities[step["value"]], panel["title"]


def test_lines_of_thresholds_are_the_series_that_alerts_compare_with() -> None:
    drawn = {asked.expression for asked in questions() if asked.expression.startswith("socket:threshold:")}
    there = {
        f"socket:threshold:{name}" + (f'{{severity="{severity}"}}' if severity else "")
        for name, severity in thresholds()
    }
    assert drawn
    assert drawn <= there


@pytest.mark.parametrize("name", ["fleet", "host", "process"])
def test_the_first_look_has_trouble_culprit_and_time_left(name: str) -> None:
    first = [panel["title"] for panel in panels(BOARDS[name]) if panel["gridPos"]["y"] == 0]
    assert {"Alerts: critical", "CLOSE_WAIT stuck", "Oldest CLOSE_WAIT", "Time left"} <= set(first)
