"""Prometheus' rules and Alertmanager's configuration: valid, tested, and with existing series only."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from exporter.diagnosis.thresholds import Levels, Thresholds

from .. import promql
from ..tools import require
from .rules import (
    ALERTS,
    DEPLOY,
    PROMETHEUS,
    RECORDING,
    THRESHOLDS,
    UNIT_TESTS,
    Rule,
    document,
    labels_of,
    problems,
    rules,
    thresholds,
    unit_tests,
)

RUNBOOKS: Final = PROMETHEUS / "runbooks"
RUNBOOK_BASE: Final = (
    "https://github.com/socket-state-exporter/socket-state-exporter/blob/main/deploy/prometheus/runbooks"
)
SUMMARY: Final = re.compile(r"[A-Z][^{}]*\.")
ALERT_NAMES: Final = sorted({rule["alert"] for rule in rules(ALERTS)})

_EXPLAIN: Final = Thresholds()
LIKE_EXPLAIN: Final = {
    "close_wait_stuck_sockets": Levels(_EXPLAIN.close_wait_few, _EXPLAIN.close_wait_many),
    "close_wait_descriptors_ratio": _EXPLAIN.close_wait_share,
    "descriptors_ratio": _EXPLAIN.descriptors,
    "accept_queue_ratio": _EXPLAIN.accept_queue,
    "ephemeral_ports_ratio": _EXPLAIN.ports,
    "ephemeral_ports_bound_ratio": _EXPLAIN.bound_ports,
    "time_wait_ratio": _EXPLAIN.time_wait_buckets.warning,
    "orphans_ratio": _EXPLAIN.orphans,
    "memory_ratio": _EXPLAIN.memory,
}
"""Thresholds that must equal those of `explain`."""


def run(*command: str | Path) -> str:
    """Run a command and return its output; it must succeed without warnings."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    output = done.stdout + done.stderr
    assert done.returncode == 0, output
    assert not re.search(r"warn|lint error|duplicate", output, re.IGNORECASE), output
    return output


def rule_name(rule: Rule) -> str:
    return "-".join([rule.get("alert") or rule["record"], *labels_of(rule).values()])


each_alert = pytest.mark.parametrize("alert", rules(ALERTS), ids=rule_name)
each_rule = pytest.mark.parametrize("rule", [*rules(RECORDING), *rules(ALERTS)], ids=rule_name)


@require("promtool")
@pytest.mark.parametrize("path", [THRESHOLDS, RECORDING, ALERTS], ids=lambda path: path.stem)
def test_rules_are_valid(path: Path) -> None:
    run("promtool", "check", "rules", "--lint=all", "--lint-fatal", path)


@require("promtool")
@pytest.mark.parametrize("path", UNIT_TESTS, ids=lambda path: path.stem)
def test_rules_pass_their_unit_tests(path: Path) -> None:
    run("promtool", "test", "rules", path)


@require("promtool")
def test_prometheus_configuration_is_valid_and_loads_rules() -> None:
    output = run("promtool", "check", "config", "--lint=all", "--lint-fatal", PROMETHEUS / "prometheus.yml")
    assert "3 rule files found" in output


@require("amtool")
def test_alertmanager_configuration_is_valid() -> None:
    run("amtool", "check-config", DEPLOY / "alertmanager" / "alertmanager.yml")


@each_rule
def test_rule_uses_existing_series_and_labels(rule: Rule) -> None:
    assert problems(rule["expr"]) == []


@each_rule
def test_rule_contains_no_numbers_but_thresholds(rule: Rule) -> None:
    assert set(promql.parse(rule["expr"]).numbers) <= {0, 1}


@each_rule
def test_rule_does_not_depend_on_the_job_name(rule: Rule) -> None:
    tied = [one for one in promql.parse(rule["expr"]).selectors if "job" in one.labels]
    assert not tied or rule.get("alert") in {"SocketExporterDown", "SocketExporterScrapeSlow"}


def test_threshold_is_a_constant_with_a_comment() -> None:
    for rule in rules(THRESHOLDS):
        assert re.fullmatch(r"vector\([0-9.]+\)", rule["expr"])
    for text in THRESHOLDS.read_text(encoding="utf-8").split("\n  - record: ")[1:]:
        name = text.partition("\n")[0]
        output = re.search(
            rf"\n  #[^\n]*(?:\n  #[^\n]*)*\n  - record: {name}\n", THRESHOLDS.read_text(encoding="utf-8")
        )
        assert output, f"{name} has no comment"


@pytest.mark.parametrize("name", LIKE_EXPLAIN)
def test_threshold_equals_that_of_explain(name: str) -> None:
    value = LIKE_EXPLAIN[name]
    of_severity = (
        {"warning": value.warning, "critical": value.critical} if isinstance(value, Levels) else {"": value}
    )
    assert {
        severity: number for (which, severity), number in thresholds().items() if which == name
    } == of_severity


def test_every_threshold_is_used_and_guarded_by_an_alert() -> None:
    there = {(f"socket:threshold:{name}", severity) for name, severity in thresholds()}
    guard = next(rule for rule in rules(ALERTS) if rule["alert"] == "SocketAlertThresholdsMissing")
    others = [rule for rule in (*rules(RECORDING), *rules(ALERTS)) if rule is not guard]
    assert set(_thresholds_in([guard])) - {("socket:threshold:close_wait_age_bucket", "")} == there
    assert set(_thresholds_in(others)) - {("socket:threshold:close_wait_age_bucket", "")} == there


def _thresholds_in(some: list[Rule]) -> Iterator[tuple[str, str]]:
    for rule in some:
        for selector in promql.parse(rule["expr"]).selectors:
            if selector.name.startswith("socket:threshold:"):
                yield (
                    selector.name,
                    "".join(value for label, _, value in selector.matchers if label == "severity"),
                )


@each_alert
def test_alert_has_the_annotations_of_a_mixin(alert: Rule) -> None:
    assert labels_of(alert)["severity"] in {"warning", "critical"}
    assert set(alert["annotations"]) == {"summary", "description", "runbook_url"}
    assert SUMMARY.fullmatch(alert["annotations"]["summary"])
    assert alert["annotations"]["runbook_url"] == f"{RUNBOOK_BASE}/{alert['alert']}.md"


@each_alert
def test_alert_uses_thresholds_of_its_severity(alert: Rule) -> None:
    if alert["alert"] != "SocketAlertThresholdsMissing":
        levels = {severity for _, severity in _thresholds_in([alert]) if severity}
        assert levels <= {labels_of(alert)["severity"]}


@each_alert
def test_description_queries_use_existing_series(alert: Rule) -> None:
    text = alert["annotations"]["description"]
    asked = list(promql.expressions_in_template(text))
    assert len(asked) == len(re.findall(r"\bquery\b", text))
    assert [problem for expression in asked for problem in problems(expression)] == []


@pytest.mark.parametrize("name", ALERT_NAMES)
def test_alert_has_a_runbook(name: str) -> None:
    assert (RUNBOOKS / f"{name}.md").is_file()


@each_alert
def test_alert_waits_for_at_least_two_scrapes(alert: Rule) -> None:
    interval = _seconds(document(PROMETHEUS / "prometheus.yml")["global"]["scrape_interval"])
    assert alert["alert"] == "CloseWaitStuck" or _seconds(alert["for"]) >= 2 * interval


def test_slow_scrape_threshold_is_below_scrape_timeout() -> None:
    timeout = _seconds(document(PROMETHEUS / "prometheus.yml")["global"]["scrape_timeout"])
    assert thresholds()["scrape_duration_seconds", ""] == 0.8 * timeout


def test_scrape_job_is_the_job_in_the_alerts() -> None:
    (scraped,) = document(PROMETHEUS / "prometheus.yml")["scrape_configs"]
    looked_for = {
        value
        for rule in rules(ALERTS)
        for selector in promql.parse(rule["expr"]).selectors
        for label, _, value in selector.matchers
        if label == "job"
    }
    assert looked_for == {scraped["job_name"]}
    assert [each["targets"] for each in scraped["static_configs"]] == [["localhost:10066"]]


def _seconds(duration: str) -> int:
    return int(duration[:-1]) * {"s": 1, "m": 60, "h": 3600}[duration[-1]]


@each_alert
def test_unit_tests_cover_each_severity(alert: Rule) -> None:
    fired = [
        expected["exp_labels"]
        for test in unit_tests()
        for check in _checks(test, alert["alert"])
        for expected in check["exp_alerts"]
    ]
    assert any(labels_of(alert).items() <= labels.items() for labels in fired)


@pytest.mark.parametrize("name", ALERT_NAMES)
def test_unit_tests_cover_silence_and_resolution(name: str) -> None:
    courses = [
        [bool(check["exp_alerts"]) for check in _checks(test, name)]
        for test in unit_tests()
        if _checks(test, name)
    ]
    assert any(not any(course) for course in courses), "no test in which it stays silent"
    assert any(course[-1] is False and True in course for course in courses), "no test in which it resolves"


def _checks(test: dict[str, Any], alert: str) -> list[dict[str, Any]]:
    """Return the expectations of a unit test for an alert, by time."""
    checks = [check for check in test.get("alert_rule_test", ()) if check["alertname"] == alert]
    return sorted(checks, key=lambda check: _seconds(check["eval_time"]))


def test_unit_tests_cover_every_recorded_series() -> None:
    tested = {
        name
        for test in unit_tests()
        for check in test.get("promql_expr_test", ())
        for name in promql.parse(check["expr"]).names
    }
    assert {rule["record"] for rule in rules(RECORDING)} <= tested


@pytest.mark.parametrize("path", UNIT_TESTS, ids=lambda path: path.stem)
def test_unit_tests_feed_existing_series(path: Path) -> None:
    fed = [series["series"] for test in document(path)["tests"] for series in test["input_series"]]
    assert [problem for series in fed for problem in problems(series)] == []
