"""Panels, as far as these boards need them: the options that Grafana 10.4 knows, and no others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from . import rules
from .colours import LEVELS
from .queries import DATASOURCE, Query

Json = dict[str, Any]

SHORT: Final = "short"
RATIO: Final = "percentunit"
SECONDS: Final = "s"
BYTES: Final = "bytes"
PER_SECOND: Final = "cps"
SINCE: Final = "dateTimeFromNow"


def panel(kind: str, title: str, description: str, queries: Sequence[Query], **more: Any) -> Json:
    """What all panels have. `alerts` names those whose runbooks are linked."""
    alerts: Sequence[str] = more.pop("alerts", ())
    return {
        "type": kind,
        "title": title,
        "description": description,
        "datasource": DATASOURCE,
        "targets": [query.target(number) for number, query in enumerate(queries)],
        "links": [runbook_link(alert) for alert in alerts],
        **more,
    }


def runbook_link(alert: str) -> Json:
    """A link from a panel to the runbook of an alert."""
    return link(f"Runbook: {alert}", rules.runbook(alert), keeps=False)


def link(title: str, url: str, *, keeps: bool) -> Json:
    """A link to a page. `keeps`: time range and variables go with it."""
    return {
        "asDropdown": False,
        "icon": "external link",
        "includeVars": keeps,
        "keepTime": keeps,
        "tags": [],
        "targetBlank": not keeps,
        "title": title,
        "tooltip": "",
        "type": "link",
        "url": url,
    }


def override(matcher: str, value: str, **properties: Any) -> Json:
    """Other options for some fields. In the names of options `__` stands for a dot."""
    return {
        "matcher": {"id": matcher, "options": value},
        "properties": [
            {"id": name.replace("__", "."), "value": setting} for name, setting in properties.items()
        ],
    }


def fixed(colour: str) -> Json:
    """One colour."""
    return {"mode": "fixed", "fixedColor": colour}


def shades(colour: str) -> Json:
    """Shades of one colour, a series each: Grafana's palettes have red in them."""
    return {"mode": "shades", "fixedColor": colour}


def by_name(colours: Mapping[str, str]) -> list[Json]:
    """A colour for each series of that name."""
    return [override("byName", name, color=fixed(colour)) for name, colour in colours.items()]


def matrix_colours(colours: Mapping[str, str]) -> list[Json]:
    """The same for the figures in the columns of a table."""
    return [
        override("byName", name, color=fixed(colour), custom__cellOptions={"type": "color-text"})
        for name, colour in colours.items()
    ]


def timeseries(title: str, description: str, queries: Sequence[Query], unit: str, **more: Any) -> Json:
    """Courses. `colour` gives its shades, `stack` stacks, `levels` names the threshold whose lines are drawn,
    `overrides` and `data_links` are Grafana's."""
    stack: bool = more.pop("stack", False)
    levels: str | None = more.pop("levels", None)
    lines = level_queries(levels) if levels else []
    return panel(
        "timeseries",
        title,
        description,
        [*queries, *lines],
        fieldConfig={
            "defaults": {
                "color": shades(more.pop("colour", "blue")),
                "custom": {
                    "drawStyle": "line",
                    "fillOpacity": 60 if stack else 8,
                    "lineWidth": 0 if stack else 1,
                    "showPoints": "never",
                    "spanNulls": False,
                    "stacking": {"group": "A", "mode": "normal" if stack else "none"},
                },
                "links": more.pop("data_links", []),
                "min": 0,
                "unit": unit,
            },
            "overrides": [*more.pop("overrides", []), *(level_override(query.legend) for query in lines)],
        },
        options={
            "legend": {
                "calcs": ["lastNotNull", "max"],
                "displayMode": "table",
                "placement": "bottom",
                "showLegend": True,
                "sortBy": "Last *",
                "sortDesc": True,
            },
            "tooltip": {"mode": "multi", "sort": "desc"},
        },
        **more,
    )


LINES: Final = {
    "warning": "warning from",
    "critical": "critical from",
    None: "alert from",
}


def level_queries(name: str) -> list[Query]:
    """The thresholds as Prometheus has them now, which the alerts compare with."""
    return [
        Query(rules.threshold_series(name) + (f'{{severity="{level}"}}' if level else ""), LINES[level])
        for level in rules.severities(name)
    ]


def level_override(legend: str) -> Json:
    """How the line of a threshold is drawn."""
    colour = next(LEVELS[level] for level, text in LINES.items() if text == legend)
    return override(
        "byName",
        legend,
        color=fixed(colour),
        custom__fillOpacity=0,
        custom__lineStyle={"dash": [10, 10], "fill": "dash"},
        custom__lineWidth=1,
        custom__stacking={"group": "A", "mode": "none"},
    )
