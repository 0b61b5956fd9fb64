"""A board: its variables, annotations and links, and its panels in rows that fill the width."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from exporter.metrics import catalog

from . import rules
from .colours import CRITICAL, WARNING
from .panels import Json, link
from .queries import DATASOURCE, firing, of

WIDTH: Final = 24
TAG: Final = "socket-state-exporter"

SCHEMA: Final = 39
"""schemaVersion of Grafana 10.4. Later ones bring it up to their own when they read it."""


@dataclass(frozen=True, slots=True)
class Row:
    """Panels beside each other, as wide as said and all as high."""

    height: int
    panels: tuple[tuple[int, Json], ...]


def row(height: int, *panels: tuple[int, Json]) -> Row:
    """A row. Raises ValueError where its panels do not fill the width."""
    if sum(width for width, _ in panels) != WIDTH:
        raise ValueError(f"widths {[width for width, _ in panels]} are not {WIDTH} together")
    return Row(height, panels)


def heading(title: str) -> Row:
    """A heading, under which the rows up to the next one can be folded away."""
    return Row(1, ((WIDTH, {"type": "row", "title": title, "collapsed": False, "panels": []}),))


def placed(rows: Sequence[Row]) -> list[Json]:
    """All panels with their places and numbers, which begin at 1."""
    panels: list[Json] = []
    top = 0
    for each in rows:
        left = 0
        for width, one in each.panels:
            place = {"h": each.height, "w": width, "x": left, "y": top}
            panels.append({"id": len(panels) + 1, "gridPos": place, **one})
            left += width
        top += each.height
    return panels


def datasource() -> Json:
    """The variable for which Prometheus to ask."""
    return {
        "name": "datasource",
        "label": "Data Source",
        "type": "datasource",
        "query": "prometheus",
        "regex": "",
        "refresh": 1,
        "hide": 0,
        "includeAll": False,
        "multi": False,
        "options": [],
        "skipUrlSync": False,
    }


def variable(name: str, selection: str, description: str, *, many: bool = True) -> Json:
    """A variable with the values that a label has. `many`: several may be chosen, or all."""
    every = {"allValue": ".+", "current": {"text": ["All"], "value": ["$__all"]}} if many else {}
    return {
        "name": name,
        "label": name,
        "description": description,
        "type": "query",
        "datasource": DATASOURCE,
        "query": f"label_values({selection}, {name})",
        "regex": "",
        "refresh": 2,
        "sort": 1,
        "hide": 0,
        "includeAll": many,
        "multi": many,
        "options": [],
        "skipUrlSync": False,
        **every,
    }


def targets() -> list[Json]:
    """The variables that all boards have."""
    there = catalog.SOCKET_EXPORTER_BUILD_INFO.exposed_name
    return [
        datasource(),
        variable("job", there, "Scrape jobs of the exporter."),
        variable("instance", f'{there}{{job=~"$job"}}', "Hosts, as Prometheus calls their exporters."),
    ]


def process() -> Json:
    """The variable for one process: of those that had sockets in the range shown."""
    return variable("process", of(catalog.SOCKET_STATES), "The process that this board is about.", many=False)


def annotation(severity: str, colour: str) -> Json:
    """Marks where alerts of a severity fire."""
    return {
        "datasource": DATASOURCE,
        "enable": True,
        "hide": False,
        "iconColor": colour,
        "name": f"Alerts: {severity}",
        "target": {
            "expr": firing(f'severity="{severity}"'),
            "interval": "1m",
            "refId": "Anno",
        },
        "titleFormat": "{{alertname}}",
        "textFormat": "{{instance}} {{process}} {{remote_address}} {{remote_port}} {{local_port}}",
        "tagKeys": "severity,instance,process",
    }


def board(
    uid: str,
    title: str,
    description: str,
    rows: Sequence[Row],
    variables: Sequence[Json] = (),
    since: str = "3h",
) -> Json:
    """A board as Grafana imports it, by hand or by provisioning."""
    others = link("Sockets", "", keeps=True) | {"icon": "dashboard", "tags": [TAG], "type": "dashboards"}
    return {
        "annotations": {"list": [annotation("critical", CRITICAL), annotation("warning", WARNING)]},
        "description": description,
        "editable": False,
        "fiscalYearStartMonth": 0,
        "graphTooltip": 1,
        "links": [others, link("Runbooks", f"{rules.RUNBOOKS}/README.md", keeps=False)],
        "liveNow": False,
        "panels": placed(rows),
        "refresh": "30s",
        "schemaVersion": SCHEMA,
        "tags": [TAG],
        "templating": {"list": [*targets(), *variables]},
        "time": {"from": f"now-{since}", "to": "now"},
        "timepicker": {},
        "timezone": "browser",
        "title": title,
        "uid": uid,
        "weekStart": "",
    }


FLEET: Final = "sockets-fleet"
HOST: Final = "sockets-host"
PROCESS: Final = "sockets-process"
EXPORTER: Final = "sockets-exporter"


def lead(title: str, uid: str, **values: str) -> Any:
    """A link from a figure to a board that keeps time range and variables, but for those given."""
    kept = [name for name in ("datasource", "job", "instance") if name not in values]
    parts = [f"${{{name}:queryparam}}" for name in kept]
    parts += [f"var-{name}=${{{value}:percentencode}}" for name, value in values.items()]
    return {"title": title, "url": f"/d/{uid}?{'&'.join(parts)}&${{__url_time_range}}", "targetBlank": False}
