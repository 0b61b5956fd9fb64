"""The rules in deploy/prometheus, their unit tests, and the existing series with their labels."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, Final

import yaml

from exporter.metrics import catalog
from exporter.metrics.spec import GaugeHistogramSpec, MetricSpec

from .. import promql

DEPLOY: Final = Path(__file__).parents[2] / "deploy"
PROMETHEUS: Final = DEPLOY / "prometheus"
RULES: Final = PROMETHEUS / "rules"
THRESHOLDS: Final = RULES / "thresholds.yml"
RECORDING: Final = RULES / "recording.yml"
ALERTS: Final = RULES / "alerts.yml"
UNIT_TESTS: Final = sorted((RULES / "tests").glob("*.yml"))

OF_WINDOWS_EXPORTER: Final = {
    "windows_printer_status": frozenset({"printer", "status"}),
    "windows_printer_job_status": frozenset({"printer", "status"}),
    "windows_exporter_collector_success": frozenset({"collector"}),
}
"""Series of windows_exporter: its docs/collector.printer.md."""

Rule = dict[str, Any]

OF_TARGETS: Final = frozenset({"job", "instance"})
"""Labels of every series."""

OF_PROMETHEUS: Final = {
    "up": frozenset[str](),
    "scrape_duration_seconds": frozenset[str](),
    "scrape_samples_scraped": frozenset[str](),
    "process_cpu_seconds_total": frozenset[str](),
    "process_resident_memory_bytes": frozenset[str](),
    "prometheus_config_last_reload_successful": frozenset[str](),
    "prometheus_rule_evaluation_failures_total": frozenset({"rule_group"}),
}
"""Series of Prometheus itself, and of its client libraries."""


@cache
def document(path: Path) -> Any:
    """Return a parsed YAML file, cached and shared: it must not be modified."""
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def rules(path: Path) -> list[Rule]:
    """Return all rules of a file in order."""
    return [rule for group in document(path)["groups"] for rule in group["rules"]]


def labels_of(rule: Rule) -> dict[str, str]:
    """Return the labels that a rule adds."""
    return dict(rule.get("labels", {}))


def thresholds() -> dict[tuple[str, str], float]:
    """Return (name without prefix, severity or "") -> value."""
    return {
        (rule["record"].removeprefix("socket:threshold:"), labels_of(rule).get("severity", "")): float(
            rule["expr"].removeprefix("vector(").removesuffix(")")
        )
        for rule in rules(THRESHOLDS)
    }


def unit_tests() -> Iterator[dict[str, Any]]:
    """Yield every unit test for promtool."""
    for path in UNIT_TESTS:
        yield from document(path)["tests"]


def alerts_on_windows() -> set[str]:
    """Return the alerts that fire in the unit tests for hosts with Windows."""
    return {
        check["alertname"]
        for test in document(RULES / "tests" / "windows.yml")["tests"]
        for check in test["alert_rule_test"]
        if check["exp_alerts"]
    }


@cache
def known_series() -> dict[str, frozenset[str]]:
    """Return name -> labels of every series that rules, dashboards and runbooks may use."""
    known = {**OF_PROMETHEUS, **OF_WINDOWS_EXPORTER}
    for metric in catalog.METRICS:
        known.update(_exposed(metric))
    for rule in (*rules(THRESHOLDS), *rules(RECORDING)):
        own = known.get(rule["record"], frozenset())
        known[rule["record"]] = own | labels_of(rule).keys() | _labels_in(rule["expr"], known)
    known["ALERTS_FOR_STATE"] = frozenset({"alertname"}).union(
        *(labels_of(rule).keys() | _labels_in(rule["expr"], known) for rule in rules(ALERTS))
    )
    known["ALERTS"] = known["ALERTS_FOR_STATE"] | {"alertstate"}
    return {name: labels | OF_TARGETS for name, labels in known.items()}


def _exposed(metric: MetricSpec) -> dict[str, frozenset[str]]:
    labels = frozenset(metric.labels)
    if isinstance(metric, GaugeHistogramSpec):
        name = metric.name
        return {f"{name}_bucket": labels | {"le"}, f"{name}_gsum": labels, f"{name}_gcount": labels}
    return {metric.exposed_name: labels}


def _labels_in(expression: str, known: dict[str, frozenset[str]]) -> frozenset[str]:
    """Return all labels that the result may have: those of all series in the expression."""
    query = promql.parse(expression)
    return frozenset(query.written_labels).union(*(known.get(name, frozenset()) for name in query.names))


def problems(expression: str) -> list[str]:
    """Return the series and labels in an expression that do not exist."""
    query, known = promql.parse(expression), known_series()
    labels = frozenset[str]().union(query.written_labels, *known.values())
    return [
        # A selection by other labels than the name has none.
        *(f"no series {name}" for name in sorted(query.names - known.keys() - {""})),
        *(
            f"{selector.name} has no label {label}"
            for selector in query.selectors
            for label in sorted(selector.labels - known.get(selector.name, selector.labels))
        ),
        *(f"no label {label}" for label in sorted(query.labels - labels)),
    ]
