"""Table panels: one query per column, joined by common labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .panels import SHORT, Json, override, panel
from .queries import Query


@dataclass(frozen=True, slots=True)
class Column:
    """A column of values: heading, query, unit and thresholds. `gauge` draws a bar from 0 to 1."""

    heading: str
    expression: str
    unit: str = SHORT
    thresholds: Json | None = None
    gauge: bool = False
    decimals: int | None = None
    mappings: tuple[Json, ...] = ()


def table(
    title: str,
    description: str,
    labels: Mapping[str, str],
    columns: Sequence[Column],
    *,
    data_links: Mapping[str, tuple[Json, ...]] | None = None,
    sort: str | None = None,
    ascending: bool = False,
    mappings: Mapping[str, list[Json]] | None = None,
    alerts: Sequence[str] = (),
) -> Json:
    """Return a table panel.

    labels: displayed label -> heading.
    data_links, mappings: heading -> links or value mappings of its cells.
    sort: heading to sort by, by default the first column of values.
    """
    headings = [*labels.values(), *(column.heading for column in columns)]
    values = _value_fields(columns)
    overrides = [_as_string(heading) for heading in labels.values()]
    overrides += [_column_override(column) for column in columns]
    for heading, links in (data_links or {}).items():
        overrides.append(override("byName", heading, {"links": list(links)}))
    for heading, texts in (mappings or {}).items():
        cell = {"mode": "basic", "type": "color-background"}
        overrides.append(override("byName", heading, {"mappings": texts, "custom.cellOptions": cell}))
    made = panel(
        "table",
        title,
        description,
        [Query(column.expression, kind="table") for column in columns],
        alerts=alerts,
        field_config={
            "defaults": {
                "custom": {
                    "align": "auto",
                    "cellOptions": {"type": "auto"},
                    "filterable": False,
                    "inspect": False,
                },
                "noValue": "",
                "unit": SHORT,
            },
            "overrides": overrides,
        },
        options={
            "cellHeight": "sm",
            "frameIndex": 0,
            "showHeader": True,
            "sortBy": [{"desc": not ascending, "displayName": sort or columns[0].heading}],
        },
    )
    made["transformations"] = [
        {"id": "merge", "options": {}},
        {
            "id": "organize",
            "options": {
                "excludeByName": {name: True for name in ("Time", "job", "__name__") if name not in labels},
                "indexByName": {name: index for index, name in enumerate([*labels, *values])},
                "renameByName": dict(zip([*labels, *values], headings, strict=True)),
            },
        },
    ]
    return made


def _value_fields(columns: Sequence[Column]) -> list[str]:
    """Return Grafana's field names for the values of each query."""
    if len(columns) == 1:
        return ["Value"]
    return [f"Value #{chr(ord('A') + index)}" for index in range(len(columns))]


def _as_string(heading: str) -> Json:
    """Return an override for text: Grafana would format a port as a number, 19.6 K."""
    return override("byName", heading, {"unit": "string"})


def _column_override(column: Column) -> Json:
    settings: dict[str, Any] = {"unit": column.unit}
    if column.decimals is not None:
        settings["decimals"] = column.decimals
    if column.mappings:
        settings["mappings"] = list(column.mappings)
    if column.thresholds:
        settings["thresholds"] = column.thresholds
        settings["color"] = {"mode": "thresholds"}
        settings["custom.cellOptions"] = {"mode": "basic", "type": "color-background"}
    if column.gauge:
        settings |= {"min": 0, "max": 1, "custom.cellOptions": {"mode": "basic", "type": "gauge"}}
    return override("byName", column.heading, settings)


def pivot_table(
    title: str,
    description: str,
    expression: str,
    row: tuple[str, str],
    column: str,
    overrides: Sequence[Json] = (),
) -> Json:
    """Return a table with a row per value of one label and a column per value of another.

    row: label of the rows and its heading.
    column: label of the columns.
    """
    label, heading = row
    made = table(title, description, {label: heading}, [Column("Value", expression)])
    made["fieldConfig"]["overrides"] = [_as_string(heading), *overrides]
    made["options"]["sortBy"] = []
    made["transformations"] = [
        {
            "id": "groupingToMatrix",
            "options": {
                "columnField": column,
                "emptyValue": "empty",
                "rowField": label,
                "valueField": "Value",
            },
        },
        # groupingToMatrix names the first column `row\column`.
        {"id": "organize", "options": {"renameByName": {f"{label}\\{column}": heading}}},
    ]
    return made
