"""Panels that are no course and no table: one figure, a heatmap, states by time, words."""

from __future__ import annotations

from typing import Any

from .colours import PLAIN, steps
from .panels import SHORT, Json, panel
from .queries import DATASOURCE, Query


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
