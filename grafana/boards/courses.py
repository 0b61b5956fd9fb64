"""Courses that several boards draw: by process, and what the kernel counts."""

from __future__ import annotations

from typing import Final

from exporter.metrics.spec import CounterSpec

from ..panels import Json, timeseries
from ..queries import Query, of, worst
from .parts import SERIES_TO_PROCESS

LINES: Final = 10
"""Processes in a graph: the worst of the range shown."""

WORST: Final = f"The {LINES} worst of the time shown."


def by_process(title: str, description: str, series: str, unit: str, **more: object) -> Json:
    """The worst processes of the range shown."""
    return timeseries(
        title,
        f"{description} {WORST}",
        [Query(worst(LINES, series, "job, instance, process"), "{{process}} on {{instance}}")],
        unit,
        data_links=[SERIES_TO_PROCESS],
        **more,
    )


def rate(metric: CounterSpec, legend: str) -> Query:
    """How fast the kernel counts."""
    return Query(f"sum(rate({of(metric)}[$__rate_interval]))", legend)
