"""The committed dashboards and helpers to read them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest

GRAFANA: Final = Path(__file__).parents[2] / "grafana"
DASHBOARD_FILES: Final = sorted((GRAFANA / "dashboards").glob("*.json"))

Json = dict[str, Any]

DASHBOARDS: Final[dict[str, Json]] = {path.stem: json.loads(path.read_text()) for path in DASHBOARD_FILES}
"""File name without suffix -> dashboard."""

each_dashboard = pytest.mark.parametrize("name", DASHBOARDS)


def panels(dashboard: Json) -> list[Json]:
    """Return all panels except row headers, those in collapsed rows included."""
    return [panel for panel in panels_and_headers(dashboard) if panel["type"] != "row"]


def panels_and_headers(dashboard: Json) -> list[Json]:
    """Return all panels and row headers, those in collapsed rows included."""
    return [inner for panel in dashboard["panels"] for inner in (panel, *panel.get("panels", ()))]


def variables(dashboard: Json) -> dict[str, Json]:
    """Return name -> variable."""
    return {variable["name"]: variable for variable in dashboard["templating"]["list"]}


class PanelQuery(NamedTuple):
    """A query with its dashboard and panel."""

    dashboard: str
    panel: str
    ref_id: str
    expression: str
    instant: bool


def panel_queries() -> Iterator[PanelQuery]:
    """Yield every query of every panel and annotation."""
    for name, dashboard in DASHBOARDS.items():
        for panel in panels(dashboard):
            for target in panel.get("targets", ()):
                yield PanelQuery(name, panel["title"], target["refId"], target["expr"], target["instant"])
        for annotation in dashboard["annotations"]["list"]:
            expression = annotation["target"]["expr"]
            yield PanelQuery(name, annotation["name"], "annotation", expression, instant=False)


def substitute_variables(expression: str, values: Mapping[str, str]) -> str:
    """Return the expression with the values of its variables, as Grafana interpolates them."""
    # `$1` is not a variable but a group of label_replace().
    return re.sub(r"\$([a-zA-Z_]\w*)|\$\{(\w+)\}", lambda match: values[match[1] or match[2]], expression)


SPANS: Final = {"__rate_interval": "5m", "__range": "6h"}
"""Values of the variables that stand for durations."""


def substitute_spans(expression: str) -> str:
    """Return the expression with durations substituted, so that it parses, and other variables kept."""
    return re.sub(r"\$(__\w+)", lambda match: SPANS[match[1]], expression)
