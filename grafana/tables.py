"""Tables: one query a column, joined by the labels that they share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .panels import SHORT, Json, override, panel
from .queries import Query


@dataclass(frozen=True, slots=True)
class Column:
    """A column of figures: its heading and query, unit and thresholds. `gauge`: a bar from 0 to 1."""

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
    labels: dict[str, str],
    columns: Sequence[Column],
    *,
    links: dict[str, tuple[Json, ...]] | None = None,
    sort: str | None = None,
    ascending: bool = False,
    mappings: dict[str, list[Json]] | None = None,
    **more: Any,
) -> Json:
    """A table. `labels`: which are shown -> with which heading; `links`: heading -> where its cells lead."""
    headings = [*labels.values(), *(column.heading for column in columns)]
    values = _values(columns)
    settings = [_as_it_is(heading) for heading in labels.values()]
    settings += [_override(column) for column in columns]
    for heading, leads in (links or {}).items():
        settings.append(override("byName", heading, links=list(leads)))
    for heading, texts in (mappings or {}).items():
        cell = {"mode": "basic", "type": "color-background"}
        settings.append(override("byName", heading, mappings=texts, custom__cellOptions=cell))
    return panel(
        "table",
        title,
        description,
        [Query(column.expression, kind="table") for column in columns],
        fieldConfig={
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
            "overrides": settings,
        },
        options={
            "cellHeight": "sm",
            "frameIndex": 0,
            "showHeader": True,
            "sortBy": [{"desc": not ascending, "displayName": sort or columns[0].heading}],
        },
        transformations=[
            {"id": "merge", "options": {}},
            {
                "id": "organize",
                "options": {
                    "excludeByName": {
                        name: True for name in ("Time", "job", "__name__") if name not in labels
                    },
                    "indexByName": {name: place for place, name in enumerate([*labels, *values])},
                    "renameByName": dict(zip([*labels, *values], headings, strict=True)),
                },
            },
        ],
        **more,
    )


def _values(columns: Sequence[Column]) -> list[str]:
    """What Grafana calls the values of each query."""
    if len(columns) == 1:
        return ["Value"]
    return [f"Value #{chr(ord('A') + number)}" for number in range(len(columns))]


def _as_it_is(heading: str) -> Json:
    """Else Grafana takes a port for a number, and shows 19.6 K."""
    return override("byName", heading, unit="string")


def _override(column: Column) -> Json:
    settings: dict[str, Any] = {"unit": column.unit}
    if column.decimals is not None:
        settings["decimals"] = column.decimals
    if column.mappings:
        settings["mappings"] = list(column.mappings)
    if column.thresholds:
        settings["thresholds"] = column.thresholds
        settings["color"] = {"mode": "thresholds"}
        settings["custom__cellOptions"] = {"mode": "basic", "type": "color-background"}
    if column.gauge:
        settings |= {"min": 0, "max": 1, "custom__cellOptions": {"mode": "basic", "type": "gauge"}}
    return override("byName", column.heading, **settings)


def matrix(
    title: str,
    description: str,
    expression: str,
    row: tuple[str, str],
    column: str,
    overrides: Sequence[Json] = (),
) -> Json:
    """A table of sums: a line for each value of the label in `row` (and its heading), a column for each
    of the label `column`."""
    label, heading = row
    made = table(title, description, {label: heading}, [Column("Value", expression)])
    made["fieldConfig"]["overrides"] = [_as_it_is(heading), *overrides]
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
        # What it calls the first column.
        {"id": "organize", "options": {"renameByName": {f"{label}\\{column}": heading}}},
    ]
    return made
