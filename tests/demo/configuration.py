"""The files of deploy/ with other intervals, addresses and paths.

recording.yml and alerts.yml are loaded unchanged. Shorter waiting times come from a copy of thresholds.yml,
as that file suggests.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import urlsplit

import yaml

from .ports import HOME, Ports

DEPLOY: Final = Path(__file__).parents[2] / "deploy"
PROMETHEUS: Final = DEPLOY / "prometheus" / "prometheus.yml"
ALERTMANAGER: Final = DEPLOY / "alertmanager" / "alertmanager.yml"
THRESHOLDS: Final = DEPLOY / "prometheus" / "rules" / "thresholds.yml"

INTERVAL: Final = "3s"
"""Scrape and evaluation interval. On a busy machine a shorter one makes scrapes time out and alerts flap."""

SHORTENED: Final = {"socket:threshold:close_wait_age_seconds": 10}
"""Threshold -> its value in the demo. All other thresholds are unchanged."""

GROUP_WAIT: Final = "2s"
GROUP_INTERVAL: Final = "2s"

Document = dict[str, Any]
Targets = Mapping[str, Sequence[Document]]
"""Scrape job -> further targets, as static configurations."""


def write(folder: Path, ports: Ports, targets: Targets = MappingProxyType({})) -> None:
    """Write thresholds.yml, prometheus.yml and alertmanager.yml."""
    for name, document in {
        THRESHOLDS.name: thresholds(),
        PROMETHEUS.name: prometheus(folder, ports, targets),
        ALERTMANAGER.name: alertmanager(ports),
    }.items():
        (folder / name).write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")


def thresholds() -> Document:
    """Return the thresholds with short times."""
    document = load(THRESHOLDS)
    for group in document["groups"]:
        for rule in group["rules"]:
            if rule["record"] in SHORTENED:
                rule["expr"] = f"vector({SHORTENED[rule['record']]})"
    return document


def prometheus(folder: Path, ports: Ports, targets: Targets = MappingProxyType({})) -> Document:
    """Return the configuration of Prometheus, with the thresholds in `folder`."""
    document = load(PROMETHEUS)
    for key in ("scrape_interval", "scrape_timeout", "evaluation_interval"):
        document["global"][key] = INTERVAL
    document["rule_files"] = [str(_rule_file(Path(name), folder)) for name in document["rule_files"]]
    (manager,) = document["alerting"]["alertmanagers"]
    manager["static_configs"] = [{"targets": [f"{HOME}:{ports.alertmanager}"]}]
    (job,) = document["scrape_configs"]
    job["static_configs"] = [{"targets": [f"{HOME}:{ports.exporter}"]}]
    for name, configs in targets.items():
        if name == job["job_name"]:
            job["static_configs"] += configs
        else:
            document["scrape_configs"].append({"job_name": name, "static_configs": list(configs)})
    return document


def _rule_file(path: Path, folder: Path) -> Path:
    return folder / path.name if path.name == THRESHOLDS.name else PROMETHEUS.parent / path


def alertmanager(ports: Ports) -> Document:
    """Return the configuration of Alertmanager: the same routes and receivers, with shorter intervals."""
    document = load(ALERTMANAGER)
    document["route"] |= {"group_wait": GROUP_WAIT, "group_interval": GROUP_INTERVAL}
    for receiver in document["receivers"]:
        for webhook in receiver["webhook_configs"]:
            webhook["url"] = urlsplit(webhook["url"])._replace(netloc=f"{HOME}:{ports.receiver}").geturl()
    return document


def load(path: Path) -> Document:
    """Return a file of deploy/; the caller may modify it."""
    document: Document = yaml.safe_load(path.read_text(encoding="utf-8"))
    return document
