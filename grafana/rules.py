"""What deploy/prometheus/rules/ says: thresholds, recorded series, alerts."""

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
def groups(name: str) -> list[dict[str, Any]]:
    """The groups of a rule file; not to be changed."""
    document = yaml.safe_load((RULES / f"{name}.yml").read_text(encoding="utf-8"))
    found: list[dict[str, Any]] = document["groups"]
    return found


def rules(name: str) -> Iterator[Rule]:
    """All rules of a file, in their order."""
    for group in groups(name):
        yield from group["rules"]


def threshold(name: str, severity: str | None = None) -> float:
    """What alerts compare with. Raises LookupError where thresholds.yml does not have it."""
    for rule in rules("thresholds"):
        if rule["record"] == threshold_series(name) and rule.get("labels", {}).get("severity") == severity:
            return float(rule["expr"].removeprefix("vector(").removesuffix(")"))
    raise LookupError(f"thresholds.yml has no {name} of severity {severity}")


def severities(name: str) -> tuple[str | None, ...]:
    """The severities of a threshold, None for one that has no levels. Raises LookupError without any."""
    found = tuple(
        rule.get("labels", {}).get("severity")
        for rule in rules("thresholds")
        if rule["record"] == threshold_series(name)
    )
    if not found:
        raise LookupError(f"thresholds.yml has no {name}")
    return found


def threshold_series(name: str) -> str:
    """The name of the series with a threshold."""
    return f"socket:threshold:{name}"


def recorded(name: str) -> str:
    """The name of a recorded series. Raises LookupError where recording.yml has none of that name."""
    if not any(rule["record"] == name for rule in rules("recording")):
        raise LookupError(f"recording.yml does not record {name}")
    return name


def alert_names() -> list[str]:
    """The names of all alerts, each once, in their order."""
    return list(dict.fromkeys(rule["alert"] for rule in rules("alerts")))


def runbook(alert: str) -> str:
    """Where the runbook of an alert is. Raises LookupError where alerts.yml has no such alert."""
    for rule in rules("alerts"):
        if rule["alert"] == alert:
            return str(rule["annotations"]["runbook_url"])
    raise LookupError(f"alerts.yml has no {alert}")
