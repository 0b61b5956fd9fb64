"""Thresholds, recorded series and alerts, as read from deploy/prometheus/rules/."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, Final

import yaml

RULES: Final = Path(__file__).parents[1] / "deploy" / "prometheus" / "rules"
RUNBOOKS: Final = (
    "https://github.com/socket-state-exporter/socket-state-exporter/blob/main/deploy/prometheus/runbooks"
)

Rule = dict[str, Any]


@cache
def groups(file_stem: str) -> list[dict[str, Any]]:
    """Return the groups of a rule file. The list is cached and must not be modified."""
    document = yaml.safe_load((RULES / f"{file_stem}.yml").read_text(encoding="utf-8"))
    found: list[dict[str, Any]] = document["groups"]
    return found


def iter_rules(file_stem: str) -> Iterator[Rule]:
    """Yield all rules of a rule file in order."""
    for group in groups(file_stem):
        yield from group["rules"]


def threshold(name: str, severity: str | None = None) -> float:
    """Return the value of a threshold.

    Raises:
        LookupError: thresholds.yml does not define it.
    """
    for rule in iter_rules("thresholds"):
        if rule["record"] == threshold_series(name) and rule.get("labels", {}).get("severity") == severity:
            return float(rule["expr"].removeprefix("vector(").removesuffix(")"))
    raise LookupError(f"thresholds.yml has no {name} of severity {severity}")


def threshold_severities(name: str) -> tuple[str | None, ...]:
    """Return the severities of a threshold; (None,) for one without severities.

    Raises:
        LookupError: thresholds.yml does not define it.
    """
    found = tuple(
        rule.get("labels", {}).get("severity")
        for rule in iter_rules("thresholds")
        if rule["record"] == threshold_series(name)
    )
    if not found:
        raise LookupError(f"thresholds.yml has no {name}")
    return found


def threshold_series(name: str) -> str:
    """Return the name of the series with a threshold."""
    return f"socket:threshold:{name}"


def require_recording_rule(series: str) -> str:
    """Return the name of a recorded series.

    Raises:
        LookupError: recording.yml does not record it.
    """
    if not any(rule["record"] == series for rule in iter_rules("recording")):
        raise LookupError(f"recording.yml does not record {series}")
    return series


def alert_names() -> list[str]:
    """Return the unique names of all alerts in order."""
    return list(dict.fromkeys(rule["alert"] for rule in iter_rules("alerts")))


def runbook_url(alert: str) -> str:
    """Return the URL of the runbook of an alert.

    Raises:
        LookupError: alerts.yml does not define the alert.
    """
    for rule in iter_rules("alerts"):
        if rule["alert"] == alert:
            return str(rule["annotations"]["runbook_url"])
    raise LookupError(f"alerts.yml has no {alert}")
