"""Queries: what is asked of Prometheus, about the jobs and hosts that are chosen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from exporter.metrics.spec import MetricSpec

from . import rules

DATASOURCE: Final = {"type": "prometheus", "uid": "${datasource}"}

CHOSEN: Final = 'job=~"$job", instance=~"$instance"'
"""Matchers that every query has."""

PROCESS: Final = 'process="$process"'
"""The matcher of the board about one process. Not =~: of one value Grafana escapes nothing."""


@dataclass(frozen=True, slots=True)
class Query:
    """One query of a panel. `kind`: `range` for a course, `now`, or `table` or `heatmap` for those panels."""

    expression: str
    legend: str = ""
    kind: str = "range"

    def target(self, number: int) -> dict[str, Any]:
        """As it stands in a panel, as the number-th of its queries."""
        return {
            "datasource": DATASOURCE,
            "editorMode": "code",
            "expr": self.expression,
            "format": {"table": "table", "heatmap": "heatmap"}.get(self.kind, "time_series"),
            "instant": self.kind in {"table", "now"},
            "legendFormat": self.legend,
            "range": self.kind not in {"table", "now"},
            "refId": chr(ord("A") + number),
        }


def of(metric: MetricSpec, *matchers: str) -> str:
    """The series of a metric."""
    return named(metric.exposed_name, *matchers)


def buckets(metric: MetricSpec, *matchers: str) -> str:
    """The buckets of a gauge histogram."""
    return named(f"{metric.name}_bucket", *matchers)


def count(metric: MetricSpec, *matchers: str) -> str:
    """The counts of a gauge histogram."""
    return named(f"{metric.name}_gcount", *matchers)


def recorded(name: str, *matchers: str) -> str:
    """The series that a rule in recording.yml records. Raises LookupError where none does."""
    return named(rules.recorded(name), *matchers)


def named(name: str, *matchers: str) -> str:
    """The series of a name, of the jobs and hosts that are chosen."""
    return f"{name}{{{', '.join((CHOSEN, *matchers))}}}"


def worst(number: int, series: str, by: str = "job, instance", how: str = "max") -> str:
    """The courses of those that were highest at some time in the range shown: the same at every moment."""
    highest = f"topk({number}, {how} by ({by}) (max_over_time({series}[$__range] @ end())))"
    return f"{how} by ({by}) ({series}) and on ({by}) {highest}"


def firing(*matchers: str) -> str:
    """The alerts of ours that fire. One about all hosts, or about none, has no instance and no job."""
    ours = "|".join(rules.alert_names())
    every = ", ".join(
        (
            'alertstate="firing"',
            f'alertname=~"{ours}"',
            'job=~"$job|"',
            'instance=~"$instance|"',
            *matchers,
        )
    )
    return f"ALERTS{{{every}}}"


def reaching(name: str, expression: str) -> str:
    """Those of an expression that reach a threshold, as Prometheus has it now."""
    return f"{expression} >= on () group_left () {rules.threshold_series(name)}"


def exporters(name: str, *matchers: str) -> str:
    """Series that Prometheus has of every target, of those jobs that are exporters' or were within a day."""
    return (
        f"{named(name, *matchers)} and on (job) "
        f"count by (job) (last_over_time({named('socket_exporter_build_info')}[1d]))"
    )


def number_of(selection: str) -> str:
    """How many there are; zero where there are none."""
    return f"count({selection}) or vector(0)"
