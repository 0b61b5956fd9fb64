"""The alerts that fire."""

from __future__ import annotations

from typing import Final

from .. import rules
from ..colours import CRITICAL, WARNING, steps
from ..figures import stat, value_mapping
from ..panels import SECONDS, SHORT, Json
from ..queries import firing, number_of
from ..tables import Column, table
from .parts import TO_HOST, TO_PROCESS

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
    return firing('severity="critical"', *matchers)


def _warning(*matchers: str) -> str:
    warning = firing('severity="warning"', *matchers)
    return f"({warning} unless ignoring (severity) {_critical(*matchers)})"


def firing_tile(severity: str, *matchers: str) -> Json:
    """How many alerts fire."""
    colour = {"critical": CRITICAL, "warning": WARNING}[severity]
    without = ", without those that are critical as well" if severity == "warning" else ""
    return stat(
        f"Alerts: {severity}",
        f"Alerts of severity {severity} that fire now{without}. The table below names them.",
        number_of(_critical(*matchers) if severity == "critical" else _warning(*matchers)),
        SHORT,
        thresholds=steps((1, colour)),
    )


def firing_table(*matchers: str) -> Json:
    """The alerts that fire, with what they are about, and links to it."""
    labels = ", ".join(FIRING_LABELS)
    since = f"(ALERTS_FOR_STATE and ignoring (alertstate) ({_critical(*matchers)} or {_warning(*matchers)}))"
    severities = value_mapping(critical=("critical", CRITICAL), warning=("warning", WARNING))
    to_runbook = {
        "title": "Runbook of this alert",
        "url": f"{rules.RUNBOOKS}/${{__data.fields.Alert}}.md",
        "targetBlank": True,
    }
    return table(
        "Alerts that fire",
        "As Prometheus evaluates them. Click an alert for its runbook, a host or process for its board.",
        FIRING_LABELS,
        [
            Column(
                "Active for",
                f"max by ({labels}) (time() - {since})",
                SECONDS,
            )
        ],
        links={"Alert": (to_runbook,), "Host": (TO_HOST,), "Process": (TO_PROCESS,)},
        mappings={"Severity": severities},
        sort="Severity",
        ascending=True,
    )
