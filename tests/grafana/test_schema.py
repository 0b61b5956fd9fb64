"""The dashboards have the types that Grafana's own packages declare, from 10.4 up.

tests/fixtures/grafana/make_schemas.sh has made the schemas. They allow nothing that they do not know. What
they say nothing about is held by other tests: links, and what the Prometheus plugin adds to annotations.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, Final

import fastjsonschema
import pytest

from .boards import BOARDS, Json, each_board

FIXTURES: Final = Path(__file__).parents[1] / "fixtures" / "grafana"
LINES: Final = ("10.4", "11.6", "12.2")
"""Of Grafana: the oldest that the boards are for, and the newest that has such types."""

OF_THE_PLUGIN: Final = ("titleFormat", "textFormat", "tagKeys", "target")
"""What annotations of the Prometheus data source have besides, or otherwise."""

each_line = pytest.mark.parametrize("line", LINES)


@cache
def checks(line: str) -> dict[str, Callable[[Any], Any]]:
    """Kind of panel, or `dashboard` -> what raises JsonSchemaValueException for one that is not so."""
    schemas = json.loads((FIXTURES / f"schema-{line}.json").read_text())
    del schemas["$comment"]
    return {kind: fastjsonschema.compile(schema) for kind, schema in schemas.items()}


def without_the_plugins(board: Json) -> Json:
    board = copy.deepcopy(board)
    for annotation in board["annotations"]["list"]:
        for name in OF_THE_PLUGIN:
            del annotation[name]
    return board


def as_defaults(panel: Json) -> Iterator[Json]:
    """The panel once more for each of its overrides, with what it sets as the default: that has a type."""
    for override in panel.get("fieldConfig", {}).get("overrides", ()):
        changed = copy.deepcopy(panel)
        defaults = changed["fieldConfig"]["defaults"]
        for one in override["properties"]:
            group, _, name = one["id"].rpartition(".")
            (defaults.setdefault(group, {}) if group else defaults)[name] = one["value"]
        yield changed


@each_line
@each_board
def test_it_is_a_dashboard(name: str, line: str) -> None:
    checks(line)["dashboard"](without_the_plugins(BOARDS[name]))


@each_line
@each_board
def test_its_panels_have_options_of_their_kinds(name: str, line: str) -> None:
    for panel in BOARDS[name]["panels"]:
        checks(line)[panel["type"]](panel)


@each_line
@each_board
def test_its_overrides_set_options_that_there_are(name: str, line: str) -> None:
    for panel in BOARDS[name]["panels"]:
        for changed in as_defaults(panel):
            checks(line)[panel["type"]](changed)


@each_line
@pytest.mark.parametrize(
    "place", ["fieldConfig.defaults", "fieldConfig.defaults.custom", "options", "options.legend", "gridPos"]
)
def test_a_slip_would_be_noticed(place: str, line: str) -> None:
    panel = copy.deepcopy(next(one for one in BOARDS["host"]["panels"] if one["type"] == "timeseries"))
    inner = panel
    for step in place.split("."):
        inner = inner[step]
    inner["unknown"] = 1
    with pytest.raises(fastjsonschema.JsonSchemaValueException):
        checks(line)["timeseries"](panel)
