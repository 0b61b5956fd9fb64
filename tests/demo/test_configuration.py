"""The demo's configuration equals deploy/ except for intervals, addresses and paths."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from ..tools import require
from . import configuration
from .configuration import ALERTMANAGER, DEPLOY, PROMETHEUS, SHORTENED, THRESHOLDS, load
from .ports import Ports

RULES: Final = DEPLOY / "prometheus" / "rules"


def leaves(node: Any, *way: str | int) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    """Every value of a document, with the way to it."""
    if isinstance(node, dict | list):
        for key, value in node.items() if isinstance(node, dict) else enumerate(node):
            yield from leaves(value, *way, key)
    else:
        yield way, node


def changed(before: Any, after: Any) -> set[str | int]:
    """The last names on the ways to all values that differ."""
    different = set(leaves(before)) ^ set(leaves(after))
    return {next(name for name in reversed(way) if isinstance(name, str)) for way, _ in different}


def test_prometheus_configuration_changes(tmp_path: Path) -> None:
    made = configuration.prometheus(tmp_path, Ports())
    assert changed(load(PROMETHEUS), made) == {
        "scrape_interval",
        "scrape_timeout",
        "evaluation_interval",
        "rule_files",
        "targets",
    }
    assert made["rule_files"] == [
        str(tmp_path / "thresholds.yml"),
        str(RULES / "recording.yml"),
        str(RULES / "alerts.yml"),
    ]


def test_alertmanager_configuration_changes() -> None:
    made = configuration.alertmanager(Ports())
    assert changed(load(ALERTMANAGER), made) == {"group_wait", "group_interval", "url"}
    assert [receiver["webhook_configs"][0]["url"] for receiver in made["receivers"]] == [
        "http://127.0.0.1:19095/pages",
        "http://127.0.0.1:19095/tickets",
    ]


def test_threshold_changes() -> None:
    def values(document: dict[str, Any]) -> dict[tuple[str, ...], str]:
        rules = [rule for group in document["groups"] for rule in group["rules"]]
        return {(rule["record"], *rule.get("labels", {}).values()): rule["expr"] for rule in rules}

    expected = values(load(THRESHOLDS)) | {(name,): f"vector({value})" for name, value in SHORTENED.items()}
    assert values(configuration.thresholds()) == expected


@require("promtool", "amtool")
@pytest.mark.parametrize(
    "command",
    [("promtool", "check", "config", "prometheus.yml"), ("amtool", "check-config", "alertmanager.yml")],
)
def test_demo_configuration_is_valid(tmp_path: Path, command: tuple[str, ...]) -> None:
    configuration.write(tmp_path, Ports())
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
