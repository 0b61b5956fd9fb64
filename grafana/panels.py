"""Panels, as far as these boards need them: the options that Grafana 10.4 knows, and no others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from . import rules
from .colours import LEVELS, PLAIN, steps
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


def stat(title: str, description: str, expression: str, unit: str, **more: Any) -> Json:
    """One figure of now, in the colour of its thresholds. `none` is what stands there without a value."""
    thresholds = more.pop("thresholds", None)
    defaults = {
        "color": {"mode": "thresholds"},
        "decimals": more.pop("decimals", None),
        "links": more.pop("data_links", []),
        "mappings": more.pop("mappings", []),
        "noValue": more.pop("none", "0"),
        "thresholds": thresholds or steps(base=PLAIN),
        "unit": unit,
    }
    return panel(
        "stat",
        title,
        description,
        [Query(expression, kind="now")],
        fieldConfig={
            "defaults": {key: value for key, value in defaults.items() if value is not None},
            "overrides": [],
        },
        options={
            "colorMode": "background_solid" if thresholds else "none",
            "graphMode": "none",
            "justifyMode": "center",
            "orientation": "auto",
            "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
            "showPercentChange": False,
            "textMode": "value",
            "wideLayout": True,
        },
        **more,
    )


def heatmap(title: str, description: str, expression: str, unit: str, **more: Any) -> Json:
    """How many at each height, by time."""
    return panel(
        "heatmap",
        title,
        description,
        [Query(expression, "{{le}}", "heatmap")],
        fieldConfig={
            "defaults": {"custom": {"scaleDistribution": {"type": "linear"}}, "unit": unit},
            "overrides": [],
        },
        options={
            "calculate": False,
            "cellGap": 1,
            "cellValues": {"decimals": 0, "unit": SHORT},
            "color": {
                "exponent": 0.5,
                "fill": "dark-purple",
                "mode": "scheme",
                "reverse": False,
                "scale": "exponential",
                "scheme": "Purples",
                "steps": 64,
            },
            "exemplars": {"color": "rgba(255,255,255,0.7)"},
            "filterValues": {"le": 1e-09},
            "legend": {"show": True},
            "rowsFrame": {"layout": "auto", "value": "connections"},
            "showValue": "never",
            "tooltip": {"mode": "single", "showColorScale": False, "yHistogram": False},
            "yAxis": {"axisPlacement": "left", "reverse": False, "unit": unit},
        },
        **more,
    )


def state_timeline(title: str, description: str, query: Query, mappings: list[Json], **more: Any) -> Json:
    """Which of a few states, by time."""
    return panel(
        "state-timeline",
        title,
        description,
        [query],
        fieldConfig={
            "defaults": {
                "color": {"mode": "thresholds"},
                "custom": {"fillOpacity": 80, "lineWidth": 0},
                "mappings": mappings,
                "thresholds": steps(base=PLAIN),
                "unit": SHORT,
            },
            "overrides": [],
        },
        options={
            "alignValue": "center",
            "legend": {"calcs": [], "displayMode": "list", "placement": "bottom", "showLegend": False},
            "mergeValues": True,
            "rowHeight": 0.9,
            "showValue": "never",
            "tooltip": {"mode": "single", "sort": "none"},
        },
        **more,
    )


def value_mapping(**texts: tuple[str, str]) -> list[Json]:
    """Texts and colours for values: `_0=("failed", "red")`."""
    return [
        {
            "type": "value",
            "options": {
                value.removeprefix("_"): {"color": colour, "index": index, "text": text}
                for index, (value, (text, colour)) in enumerate(texts.items())
            },
        }
    ]


def text(title: str, description: str, content: str) -> Json:
    """Words."""
    return {
        "type": "text",
        "title": title,
        "description": description,
        "datasource": DATASOURCE,
        "options": {"content": content, "mode": "markdown"},
    }
