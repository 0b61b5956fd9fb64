"""A dashboard: its variables, annotations and links, and the layout of its panels in rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from exporter.metrics import catalog

from . import rules
from .colors import SEVERITY_COLORS
from .panels import Json, link
from .queries import DATASOURCE, firing_alerts, selector_for_name

WIDTH: Final = 24
TAG: Final = "socket-state-exporter"

SCHEMA_VERSION: Final = 39
"""schemaVersion of Grafana 10.4. Later versions migrate it when they load a dashboard."""


@dataclass(frozen=True, slots=True)
class Row:
    """Panels of equal height side by side: (width, panel)."""

    height: int
    panels: tuple[tuple[int, Json], ...]
    collapsed: tuple[Row, ...] = ()
    """Rows that a collapsed header hides."""


def row(height: int, *panels: tuple[int, Json]) -> Row:
    """Return a row.

    Raises:
        ValueError: the widths do not add up to the width of a dashboard.
    """
    if sum(width for width, _ in panels) != WIDTH:
        raise ValueError(f"widths {[width for width, _ in panels]} do not add up to {WIDTH}")
    return Row(height, panels)


def row_header(title: str) -> Row:
    """Return a header that can collapse the rows up to the next header."""
    return Row(1, ((WIDTH, {"type": "row", "title": title, "collapsed": False, "panels": []}),))


def collapsed_rows(title: str, *rows: Row) -> Row:
    """Return a header with the rows that it hides until it is clicked. It must be the last of a dashboard.

    Grafana runs no queries of hidden panels.
    """
    header = {"type": "row", "title": title, "collapsed": True}
    return Row(1, ((WIDTH, header),), rows)


def layout(rows: Sequence[Row], first_id: int = 1, top: int = 0) -> list[Json]:
    """Return all panels with their grid positions and consecutive ids; headers contain collapsed rows."""
    panels: list[Json] = []
    for dashboard_row in rows:
        left = 0
        for width, panel in dashboard_row.panels:
            panel_id = first_id + len(panels)
            position = {"h": dashboard_row.height, "w": width, "x": left, "y": top}
            panels.append({"id": panel_id, "gridPos": position, **panel})
            left += width
        top += dashboard_row.height
        if dashboard_row.collapsed:
            panels[-1]["panels"] = layout(dashboard_row.collapsed, first_id + len(panels), top)
    return panels


def datasource_variable() -> Json:
    """Return the variable that selects the Prometheus data source."""
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


def variable(
    name: str, series: str, description: str, *, multi: bool = True, title: str = "", initial: str = ""
) -> Json:
    """Return a variable with the values of a label. `multi` allows several values, or all.

    title: displayed name, by default the label.
    initial: value of a variable without `multi` until another one is selected.
    """
    settings: Json = {}
    if multi:
        settings = {"allValue": ".+", "current": {"text": ["All"], "value": ["$__all"]}}
    elif initial:
        settings = {"current": {"text": initial, "value": initial}}
    return {
        "name": name,
        "label": title or name,
        "description": description,
        "type": "query",
        "datasource": DATASOURCE,
        "query": f"label_values({series}, {name})",
        "regex": "",
        "refresh": 2,
        "sort": 1,
        "hide": 0,
        "includeAll": multi,
        "multi": multi,
        "options": [],
        "skipUrlSync": False,
        **settings,
    }


def host_variables() -> list[Json]:
    """Return the variables of all dashboards: data source, job and instance."""
    build_info = catalog.SOCKET_EXPORTER_BUILD_INFO.exposed_name
    return [
        datasource_variable(),
        variable("job", build_info, "Scrape jobs of the exporter."),
        variable(
            "instance", f'{build_info}{{job=~"$job"}}', "Hosts, by the instance label of their exporter."
        ),
    ]


def process_variable(
    title: str = "", description: str = "The process to display.", initial: str = ""
) -> Json:
    """Return the variable for one process with sockets in the displayed range, dead ones included."""
    names = f"{catalog.SOCKET_STATES.exposed_name}|{catalog.SOCKET_DEAD_FDS.exposed_name}"
    return variable(
        "process",
        selector_for_name("", f'__name__=~"{names}"'),
        description,
        multi=False,
        title=title,
        initial=initial,
    )


def annotation(severity: str) -> Json:
    """Return annotations that mark when alerts of a severity fire."""
    return {
        "datasource": DATASOURCE,
        "enable": True,
        "hide": False,
        "iconColor": SEVERITY_COLORS[severity],
        "name": f"Alerts: {severity}",
        "target": {
            "expr": firing_alerts(f'severity="{severity}"'),
            "interval": "1m",
            "refId": "Anno",
        },
        "titleFormat": "{{alertname}}",
        "textFormat": "{{instance}} {{process}} {{remote_address}} {{remote_port}} {{local_port}}",
        "tagKeys": "severity,instance,process",
    }


def dashboard(
    uid: str,
    title: str,
    description: str,
    rows: Sequence[Row],
    variables: Sequence[Json] = (),
    default_range: str = "3h",
) -> Json:
    """Return a dashboard that Grafana can import and provision."""
    others = link("Sockets", "", keep_time_and_vars=True) | {
        "icon": "dashboard",
        "tags": [TAG],
        "type": "dashboards",
    }
    return {
        "annotations": {"list": [annotation("critical"), annotation("warning")]},
        "description": description,
        "editable": False,
        "fiscalYearStartMonth": 0,
        "graphTooltip": 1,
        "links": [others, link("Runbooks", f"{rules.RUNBOOKS}/README.md", keep_time_and_vars=False)],
        "liveNow": False,
        "panels": layout(rows),
        "refresh": "30s",
        "schemaVersion": SCHEMA_VERSION,
        "tags": [TAG],
        "templating": {"list": [*host_variables(), *variables]},
        "time": {"from": f"now-{default_range}", "to": "now"},
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


def data_link(title: str, uid: str, **variables: str) -> Json:
    """Return a link from a value to a dashboard.

    Time range and variables are kept, except the given ones: variable -> expression of its value.
    """
    kept = [name for name in ("datasource", "job", "instance") if name not in variables]
    parameters = [f"${{{name}:queryparam}}" for name in kept]
    parameters += [f"var-{name}=${{{value}:percentencode}}" for name, value in variables.items()]
    url = f"/d/{uid}?{'&'.join(parameters)}&${{__url_time_range}}"
    return {"title": title, "url": url, "targetBlank": False}
