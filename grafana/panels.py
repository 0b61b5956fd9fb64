"""Panels, with options that Grafana 10.4 knows and no others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from . import rules
from .colors import NEUTRAL, PALETTE, SEVERITY_COLORS, TRANSPARENT, steps
from .queries import DATASOURCE, Query

Json = dict[str, Any]

SHORT: Final = "short"
RATIO: Final = "percentunit"
SECONDS: Final = "s"
BYTES: Final = "bytes"
PER_SECOND: Final = "cps"
SINCE: Final = "dateTimeFromNow"


def panel(
    kind: str,
    title: str,
    description: str,
    queries: Sequence[Query],
    *,
    alerts: Sequence[str],
    field_config: Json,
    options: Json,
) -> Json:
    """Return a panel of a kind. `alerts` names the alerts whose runbooks are linked."""
    return {
        "type": kind,
        "title": title,
        "description": description,
        "datasource": DATASOURCE,
        "targets": [query.target(index) for index, query in enumerate(queries)],
        "links": [runbook_link(alert) for alert in alerts],
        "fieldConfig": field_config,
        "options": options,
    }


def runbook_link(alert: str) -> Json:
    """Return a link from a panel to the runbook of an alert."""
    return link(f"Runbook: {alert}", rules.runbook_url(alert), keep_time_and_vars=False)


def link(title: str, url: str, *, keep_time_and_vars: bool) -> Json:
    """Return a link to a page, with or without the time range and variables of the dashboard."""
    return {
        "asDropdown": False,
        "icon": "external link",
        "includeVars": keep_time_and_vars,
        "keepTime": keep_time_and_vars,
        "tags": [],
        "targetBlank": not keep_time_and_vars,
        "title": title,
        "tooltip": "",
        "type": "link",
        "url": url,
    }


def override(matcher: str, value: str, properties: Mapping[str, Any]) -> Json:
    """Return an override of field options (`properties`, with Grafana's dotted ids) for some fields."""
    return {
        "matcher": {"id": matcher, "options": value},
        "properties": [{"id": name, "value": setting} for name, setting in properties.items()],
    }


def fixed_color(color: str) -> Json:
    """Return a color setting for one color."""
    return {"mode": "fixed", "fixedColor": color}


def shades_of(color: str) -> Json:
    """Return a color setting for shades of one color, one per series: Grafana's palettes contain red."""
    return {"mode": "shades", "fixedColor": color}


def color_by_series(colors: Mapping[str, str]) -> list[Json]:
    """Return overrides that set the color of each series by its name."""
    return [override("byName", name, {"color": fixed_color(color)}) for name, color in colors.items()]


def color_by_column(colors: Mapping[str, str]) -> list[Json]:
    """Return overrides that set the text color of each table column by its name."""
    return [
        override("byName", name, {"color": fixed_color(color), "custom.cellOptions": {"type": "color-text"}})
        for name, color in colors.items()
    ]


def value_mapping(texts: Mapping[str, tuple[str, str]]) -> list[Json]:
    """Return mappings of values to a text and a color."""
    return [
        {
            "type": "value",
            "options": {
                value: {"color": color, "index": index, "text": text}
                for index, (value, (text, color)) in enumerate(texts.items())
            },
        }
    ]


def timeseries(
    title: str,
    description: str,
    queries: Sequence[Query],
    unit: str,
    *,
    color: str = PALETTE,
    stack: bool = False,
    thresholds: str | None = None,
    overrides: Sequence[Json] = (),
    data_links: Sequence[Json] = (),
    alerts: Sequence[str] = (),
) -> Json:
    """Return a time series panel in shades of `color`. `thresholds` names a threshold to draw as lines."""
    lines = threshold_queries(thresholds) if thresholds else []
    return panel(
        "timeseries",
        title,
        description,
        [*queries, *lines],
        alerts=alerts,
        field_config={
            "defaults": {
                "color": shades_of(color),
                "custom": {
                    "drawStyle": "line",
                    "fillOpacity": 60 if stack else 8,
                    "lineWidth": 0 if stack else 1,
                    "showPoints": "never",
                    "spanNulls": False,
                    "stacking": {"group": "A", "mode": "normal" if stack else "none"},
                },
                "links": list(data_links),
                "min": 0,
                "unit": unit,
            },
            "overrides": [*overrides, *(threshold_override(query.legend) for query in lines)],
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
    )


THRESHOLD_LEGENDS: Final = {
    "warning": "warning threshold",
    "critical": "critical threshold",
    None: "alert threshold",
}


def threshold_queries(name: str) -> list[Query]:
    """Return queries for the current values of a threshold in Prometheus, which the alerts use."""
    return [
        Query(
            rules.threshold_series(name) + (f'{{severity="{severity}"}}' if severity else ""),
            THRESHOLD_LEGENDS[severity],
        )
        for severity in rules.threshold_severities(name)
    ]


def threshold_override(legend: str) -> Json:
    """Return the override that draws a threshold as a dashed line."""
    severity = next(level for level, text in THRESHOLD_LEGENDS.items() if text == legend)
    return override(
        "byName",
        legend,
        {
            "color": fixed_color(SEVERITY_COLORS[severity]),
            "custom.fillOpacity": 0,
            "custom.lineStyle": {"dash": [10, 10], "fill": "dash"},
            "custom.lineWidth": 1,
            "custom.stacking": {"group": "A", "mode": "none"},
        },
    )


def stat(
    title: str,
    description: str,
    expression: str,
    unit: str,
    *,
    thresholds: Json | None = None,
    no_value: str = "0",
    decimals: int | None = None,
    mappings: Sequence[Json] = (),
    count: Query | None = None,
    alerts: Sequence[str] = (),
) -> Json:
    """Return a stat panel: the current value in the color of its thresholds, `no_value` if there is none.

    count: a number without thresholds, displayed with its legend, for hosts where `expression` has no value.
    """
    defaults = {
        "color": {"mode": "thresholds"},
        "decimals": decimals,
        "links": [],
        "mappings": list(mappings),
        "noValue": no_value,
        "thresholds": thresholds or steps(base=NEUTRAL),
        "unit": unit,
    }
    return panel(
        "stat",
        title,
        description,
        [Query(expression, "of the limit" if count else "", "instant"), *([count] if count else [])],
        alerts=alerts,
        field_config={
            "defaults": {key: value for key, value in defaults.items() if value is not None},
            "overrides": [_count_override("B")] if count else [],
        },
        options={
            "colorMode": "background_solid" if thresholds else "none",
            "graphMode": "none",
            "justifyMode": "center",
            "orientation": "auto",
            "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
            "showPercentChange": False,
            "textMode": "value_and_name" if count else "value",
            "wideLayout": True,
        },
    )


def _count_override(ref_id: str) -> Json:
    """Return the override of a query that returns a number without thresholds."""
    return override("byFrameRefID", ref_id, {"unit": SHORT, "thresholds": steps(base=TRANSPARENT)})


def heatmap(title: str, description: str, expression: str, unit: str, *, alerts: Sequence[str] = ()) -> Json:
    """Return a heatmap of the buckets of a histogram over time."""
    return panel(
        "heatmap",
        title,
        description,
        [Query(expression, "{{le}}", "heatmap")],
        alerts=alerts,
        field_config={
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
    )


def state_timeline(
    title: str, description: str, query: Query, mappings: list[Json], *, alerts: Sequence[str] = ()
) -> Json:
    """Return a state timeline: a mapped value per series over time."""
    return panel(
        "state-timeline",
        title,
        description,
        [query],
        alerts=alerts,
        field_config={
            "defaults": {
                "color": {"mode": "thresholds"},
                "custom": {"fillOpacity": 80, "lineWidth": 0},
                "mappings": mappings,
                "thresholds": steps(base=NEUTRAL),
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
    )


def text_panel(title: str, description: str, content: str) -> Json:
    """Return a text panel with Markdown."""
    return {
        "type": "text",
        "title": title,
        "description": description,
        "datasource": DATASOURCE,
        "options": {"content": content, "mode": "markdown"},
    }
