"""The dashboards, read as Grafana reads them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest

GRAFANA: Final = Path(__file__).parents[2] / "grafana"
DASHBOARDS: Final = sorted((GRAFANA / "dashboards").glob("*.json"))

Json = dict[str, Any]

BOARDS: Final[dict[str, Json]] = {path.stem: json.loads(path.read_text()) for path in DASHBOARDS}
"""Name of the file without its ending -> board."""

each_board = pytest.mark.parametrize("name", BOARDS)


def panels(board: Json) -> list[Json]:
    """All panels but the headings of rows."""
    return [panel for panel in board["panels"] if panel["type"] != "row"]


def variables(board: Json) -> dict[str, Json]:
    return {variable["name"]: variable for variable in board["templating"]["list"]}


class Question(NamedTuple):
    """One query, and where it stands."""

    board: str
    panel: str
    number: str
    expression: str
    instant: bool


def questions() -> Iterator[Question]:
    """Every query of every panel, and of every annotation."""
    for name, board in BOARDS.items():
        for panel in panels(board):
            for target in panel.get("targets", ()):
                yield Question(name, panel["title"], target["refId"], target["expr"], target["instant"])
        for mark in board["annotations"]["list"]:
            yield Question(name, mark["name"], "annotation", mark["target"]["expr"], instant=False)


def filled(expression: str, values: Mapping[str, str]) -> str:
    """The expression with values for its variables, as Grafana puts them in."""
    return re.sub(r"\$(\w+)|\$\{(\w+)\}", lambda found: values[found[1] or found[2]], expression)


SPANS: Final = {"__rate_interval": "5m", "__range": "6h"}
"""Values of the variables that stand for spans of time."""


def readable(expression: str) -> str:
    """The expression with spans filled in: a parser can read it, and still sees which variables it uses."""
    return re.sub(r"\$(__\w+)", lambda found: SPANS[found[1]], expression)
