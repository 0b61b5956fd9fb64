"""Panels with the firing alerts."""

from __future__ import annotations

from typing import Final

from .. import rules
from ..colors import CRITICAL, SEVERITY_COLORS, WARNING, steps
from ..panels import SECONDS, SHORT, Json, stat, value_mapping
from ..queries import count_or_zero, firing_alerts
from ..tables import Column, table
from .shared import TO_HOST, TO_PROCESS

FIRING_LABELS: Final = {
    "severity": "Severity",
    "alertname": "Alert",
    "instance": "Host",
    "process": "Process",
    "local_port": "Port",
    "remote_address": "Towards",
    "remote_port": "Remote port",
    "collector": "Collector",
}


def _critical(*matchers: str) -> str:
    return firing_alerts('severity="critical"', *matchers)


def _warning(*matchers: str) -> str:
    warning = firing_alerts('severity="warning"', *matchers)
    return f"({warning} unless ignoring (severity) {_critical(*matchers)})"


def firing_stat(severity: str, *matchers: str) -> Json:
    """Return a stat with the number of firing alerts of a severity."""
    exception = ", except those that are also critical" if severity == "warning" else ""
    return stat(
        f"Alerts: {severity}",
        f"Firing alerts of severity {severity}{exception}. The table of firing alerts lists them.",
        count_or_zero(_critical(*matchers) if severity == "critical" else _warning(*matchers)),
        SHORT,
        thresholds=steps((1, SEVERITY_COLORS[severity])),
    )


def firing_table(*matchers: str) -> Json:
    """Return a table of the firing alerts, with links to runbooks, hosts and processes."""
    labels = ", ".join(FIRING_LABELS)
    since = f"(ALERTS_FOR_STATE and ignoring (alertstate) ({_critical(*matchers)} or {_warning(*matchers)}))"
    severities = value_mapping({"critical": ("critical", CRITICAL), "warning": ("warning", WARNING)})
    to_runbook = {
        "title": "Runbook of this alert",
        "url": f"{rules.RUNBOOKS}/${{__data.fields.Alert}}.md",
        "targetBlank": True,
    }
    return table(
        "Firing alerts",
        "Alerts as evaluated by Prometheus. Click an alert for its runbook, a host or process for its "
        "dashboard.",
        FIRING_LABELS,
        [Column("Active for", f"max by ({labels}) (time() - {since})", SECONDS)],
        data_links={"Alert": (to_runbook,), "Host": (TO_HOST,), "Process": (TO_PROCESS,)},
        mappings={"Severity": severities},
        sort="Severity",
        ascending=True,
    )
