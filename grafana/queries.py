"""PromQL queries, restricted to the selected jobs and hosts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from exporter.metrics.spec import MetricSpec

from . import rules

DATASOURCE: Final = {"type": "prometheus", "uid": "${datasource}"}

SELECTED: Final = 'job=~"$job", instance=~"$instance"'
"""Matchers of every query."""

SELECTED_PROCESS: Final = 'process="$process"'
"""Matcher of the process dashboard. Not `=~`: Grafana does not escape single values."""


@dataclass(frozen=True, slots=True)
class Query:
    """A query of a panel. `kind` is `range`, `instant`, `table` or `heatmap`."""

    expression: str
    legend: str = ""
    kind: str = "range"

    def target(self, index: int) -> dict[str, Any]:
        """Return the query in Grafana's model, as number `index` of its panel."""
        return {
            "datasource": DATASOURCE,
            "editorMode": "code",
            "expr": self.expression,
            "format": {"table": "table", "heatmap": "heatmap"}.get(self.kind, "time_series"),
            "instant": self.kind in {"table", "instant"},
            "legendFormat": self.legend,
            "range": self.kind not in {"table", "instant"},
            "refId": chr(ord("A") + index),
        }


def selector(metric: MetricSpec, *matchers: str) -> str:
    """Return a selector for the series of a metric."""
    return selector_for_name(metric.exposed_name, *matchers)


def bucket_selector(metric: MetricSpec, *matchers: str) -> str:
    """Return a selector for the buckets of a gauge histogram."""
    return selector_for_name(f"{metric.name}_bucket", *matchers)


def gcount_selector(metric: MetricSpec, *matchers: str) -> str:
    """Return a selector for the counts of a gauge histogram."""
    return selector_for_name(f"{metric.name}_gcount", *matchers)


def recorded(name: str, *matchers: str) -> str:
    """Return a selector for a recorded series.

    Raises:
        LookupError: recording.yml does not record it.
    """
    return selector_for_name(rules.require_recording_rule(name), *matchers)


def selector_for_name(name: str, *matchers: str) -> str:
    """Return a selector for the series of a name on the selected jobs and hosts."""
    return f"{name}{{{', '.join((SELECTED, *matchers))}}}"


def union(first: str, second: str) -> str:
    """Return the series of both expressions, also those with equal labels: `or` would drop the second."""
    return f'({first} or label_replace({second}, "union", "second", "", ""))'


def topk_over_range(number: int, series: str, by: str = "job, instance", aggregation: str = "max") -> str:
    """Return the series with the highest values within the displayed range.

    Unlike topk(), which selects at each step, the selection is the same over the whole range.
    """
    highest = f"topk({number}, {aggregation} by ({by}) (max_over_time({series}[$__range] @ end())))"
    return f"{aggregation} by ({by}) ({series}) and on ({by}) {highest}"


def firing_alerts(*matchers: str) -> str:
    """Return a selector for the firing alerts of alerts.yml.

    Alerts without a host have no instance and no job.
    """
    names = "|".join(rules.alert_names())
    all_matchers = ", ".join(
        (
            'alertstate="firing"',
            f'alertname=~"{names}"',
            'job=~"$job|"',
            'instance=~"$instance|"',
            *matchers,
        )
    )
    return f"ALERTS{{{all_matchers}}}"


def above_threshold(name: str, expression: str) -> str:
    """Return the samples of an expression that reach the current value of a threshold."""
    return f"{expression} >= on () group_left () {rules.threshold_series(name)}"


def exporter_jobs(name: str, *matchers: str) -> str:
    """Return a selector for series of Prometheus itself, of jobs with an exporter within the last day."""
    return (
        f"{selector_for_name(name, *matchers)} and on (job) "
        f"count by (job) (last_over_time({selector_for_name('socket_exporter_build_info')}[1d]))"
    )


def count_or_zero(expression: str) -> str:
    """Return the number of series, 0 if there are none."""
    return f"count({expression}) or vector(0)"
