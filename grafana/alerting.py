"""The alerts of deploy/prometheus/rules/alerts.yml for Grafana to evaluate instead of Prometheus."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

import yaml

from . import rules
from .rules import Rule

DATASOURCE_UID: Final = "prometheus"
"""As in provisioning/datasources/; the alerts of Grafana know no variables."""

FOLDER: Final = "Sockets"
INTERVAL: Final = "30s"

ABOUT: Final = (
    ("process", "process"),
    ("local_port", "port"),
    ("remote_address", "towards"),
    ("remote_port", "remote port"),
    ("collector", "collector"),
    ("family", "family"),
    ("label", "label"),
    ("threshold", "threshold"),
)
"""Labels that say what an alert is about, with their words."""

HEADER: Final = """\
# Made by `make dashboards` from deploy/prometheus/rules/alerts.yml: change it there.
# The same alerts, evaluated by Grafana: copy this into its provisioning/alerting/. Prometheus still loads
# thresholds.yml and recording.yml, and not alerts.yml: else everything is told twice. Grafana silences no
# warning while the critical alert fires, as deploy/alertmanager does.
"""


Places = Mapping[str, tuple[str, int]]
"""Alert -> board and panel that show what it is about."""


def places(boards: Iterable[dict[str, Any]]) -> dict[str, tuple[str, int]]:
    """For each alert the first panel that links its runbook, timeseries before others: those show marks."""
    found: dict[str, tuple[str, int]] = {}
    panels = [(board["uid"], panel) for board in boards for panel in board["panels"]]
    for uid, panel in sorted(panels, key=lambda one: one[1]["type"] != "timeseries"):
        for link in panel.get("links", ()):
            found.setdefault(link["title"].removeprefix("Runbook: "), (uid, panel["id"]))
    return found


def document(places: Places) -> str:
    """The file for Grafana's provisioning/alerting/."""
    groups = [
        {
            "orgId": 1,
            "name": group["name"],
            "folder": FOLDER,
            "interval": INTERVAL,
            "rules": [_rule(rule, places) for rule in group["rules"]],
        }
        for group in rules.groups("alerts")
    ]
    text: str = yaml.dump({"apiVersion": 1, "groups": groups}, Dumper=_Dumper, sort_keys=False, width=110)
    return HEADER + text


class _Dumper(yaml.SafeDumper):
    """Writes expressions of several lines as such."""


_Dumper.add_representer(
    str,
    lambda dumper, text: dumper.represent_scalar(
        "tag:yaml.org,2002:str", text, style="|" if "\n" in text else None
    ),
)


def _rule(rule: Rule, places: Places) -> dict[str, Any]:
    title = _title(rule)
    uid, panel = places[rule["alert"]]
    return {
        "uid": f"sockets-{hashlib.sha256(title.encode()).hexdigest()[:16]}",
        "title": title,
        "condition": "B",
        "data": [_query(rule["expr"]), _fires()],
        "for": rule.get("for", "0s"),
        # An expression that finds nothing says that all is well.
        "noDataState": "OK",
        "execErrState": "Error",
        "labels": dict(rule["labels"]),
        "annotations": {
            "summary": rule["annotations"]["summary"],
            "description": _description(rule),
            "runbook_url": rule["annotations"]["runbook_url"],
            # Grafana marks on that panel when it fires.
            "__dashboardUid__": uid,
            "__panelId__": str(panel),
        },
        "isPaused": False,
    }


def _title(rule: Rule) -> str:
    """No two in a folder may have the same."""
    return f"{rule['alert']} ({', '.join(rule['labels'].values())})"


def _query(expression: str) -> dict[str, Any]:
    return {
        "refId": "A",
        "relativeTimeRange": {"from": 600, "to": 0},
        "datasourceUid": DATASOURCE_UID,
        "model": {
            "refId": "A",
            "datasource": {"type": "prometheus", "uid": DATASOURCE_UID},
            "editorMode": "code",
            "expr": expression,
            "instant": True,
            "range": False,
        },
    }


def _fires() -> dict[str, Any]:
    """Fires for whatever A finds: what Prometheus compares is left out unless it is so, and may be 0."""
    return {
        "refId": "B",
        "relativeTimeRange": {"from": 600, "to": 0},
        "datasourceUid": "__expr__",
        "model": {
            "refId": "B",
            "datasource": {"type": "__expr__", "uid": "__expr__"},
            "type": "threshold",
            "expression": "A",
            "conditions": [{"type": "query", "evaluator": {"type": "gt", "params": [-1]}}],
        },
    }


def _description(rule: Rule) -> str:
    """Which one, and how much. Grafana's templates can ask no further queries, as those of Prometheus do."""
    about = "".join(
        f"{{{{ with $labels.{label} }}}}, {words} {{{{ . }}}}{{{{ end }}}}" for label, words in ABOUT
    )
    return f"{{{{ $labels.instance }}}}{about}{_value(rule['expr'])}. The runbook says what to do."


def _value(expression: str) -> str:
    """The value in words, by what the expression compares; nothing where it compares with 0."""
    if expression.rstrip().endswith("== 0") or "absent(" in expression:
        return ""
    compared = re.match(r"[\w:]+", expression)
    name = compared[0] if compared else ""
    if name.endswith("ratio"):
        return ": {{ humanizePercentage $values.A.Value }}"
    if name.endswith("seconds"):
        return ": {{ humanizeDuration $values.A.Value }}"
    return f': {{{{ printf "{"%.2f" if name.endswith("rate5m") else "%.0f"}" $values.A.Value }}}}'
