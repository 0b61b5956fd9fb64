"""Routing and inhibition of the alerts, checked with amtool and a real Alertmanager."""

from __future__ import annotations

import json
import socket
import subprocess
import urllib.request
from collections.abc import Iterator
from typing import Any, Final

import pytest

from ..running import until
from ..tools import require
from .rules import ALERTS, DEPLOY, labels_of, rules

CONFIGURATION: Final = DEPLOY / "alertmanager" / "alertmanager.yml"
HOST: Final = {"job": "socket-state-exporter", "instance": "web1:10066"}
OTHER_HOST: Final = HOST | {"instance": "web2:10066"}
DESTINATION: Final = {"remote_address": "10.0.0.9", "remote_port": "5432"}

Labels = dict[str, str]


def alert(name: str, severity: str, where: Labels = HOST, **more: str) -> Labels:
    return {"alertname": name, "severity": severity, **where, **more}


@require("amtool")
@pytest.mark.parametrize(
    "rule", rules(ALERTS), ids=lambda rule: f"{rule['alert']}-{rule['labels']['severity']}"
)
def test_critical_alerts_page_and_warnings_open_tickets(rule: dict[str, Any]) -> None:
    labels = [f"{label}={value}" for label, value in alert(rule["alert"], **labels_of(rule)).items()]
    command = ["amtool", "config", "routes", "test", f"--config.file={CONFIGURATION}", *labels]
    result = subprocess.run(command, capture_output=True, text=True, check=True, timeout=20).stdout.strip()
    assert result == {"critical": "pages", "warning": "tickets"}[labels_of(rule)["severity"]]


@pytest.fixture(scope="module")
def alertmanager(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Return the address of a running Alertmanager with the configuration of deploy/."""
    folder = tmp_path_factory.mktemp("alertmanager")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [
                "prometheus-alertmanager",
                f"--config.file={CONFIGURATION}",
                f"--storage.path={folder}",
                f"--web.listen-address={address}",
                "--cluster.listen-address=",
            ],
            stdout=log,
            stderr=log,
        )
    try:
        yield address
    finally:
        process.terminate()
        process.wait(20)


def inhibited(address: str, *alerts: Labels) -> list[Labels] | None:
    """Return the inhibited ones of these alerts; None until Alertmanager has processed them all."""
    known = {json.dumps(one["labels"], sort_keys=True): one["status"] for one in _ask(address) or ()}
    states = [known.get(json.dumps(labels, sort_keys=True), {"state": "unprocessed"}) for labels in alerts]
    if any(state["state"] == "unprocessed" for state in states):
        return None
    return [labels for labels, state in zip(alerts, states, strict=True) if state["inhibitedBy"]]


def _ask(address: str, body: bytes | None = None) -> Any:
    """Return all alerts, or post new ones given as body; None while Alertmanager does not respond."""
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(f"http://{address}/api/v2/alerts", body, headers)  # our own URL
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
            return json.loads(answer.read() or b"{}")
    except OSError:
        return None


CASES: Final = {
    "critical silences the warning of the same process": (
        [alert("CloseWaitStuck", "critical", process="a"), alert("CloseWaitStuck", "warning", process="b")],
        [alert("CloseWaitStuck", "warning", process="a")],
    ),
    "and of the same destination and call": (
        [
            alert("EphemeralPortsNearExhaustion", "critical", call="connect", **DESTINATION),
            alert("EphemeralPortsNearExhaustion", "warning", call="bind"),
            alert("EphemeralPortsExhaustedSoon", "critical", remote_address="fd00::8", remote_port="80"),
        ],
        [
            alert("EphemeralPortsNearExhaustion", "warning", call="connect", **DESTINATION),
            alert("EphemeralPortsExhaustedSoon", "critical", **DESTINATION),
        ],
    ),
    "an exporter that is down silences its host": (
        [
            alert("SocketExporterDown", "warning", HOST | {"instance": "down:10066"}),
            alert("TcpMemoryNearLimit", "critical", OTHER_HOST),
        ],
        [
            alert("SocketExporterScrapeSlow", "warning", HOST | {"instance": "down:10066"}),
            alert("CloseWaitStuck", "critical", HOST | {"instance": "down:10066"}, process="a"),
        ],
    ),
    "descriptors that run out silence the leak": (
        [
            alert("CloseWaitDescriptorsRunningOut", "critical", process="leak"),
            alert("CloseWaitStuck", "critical", process="another"),
        ],
        [
            alert("CloseWaitStuck", "critical", process="leak"),
            alert("CloseWaitGrowing", "warning", process="leak"),
        ],
    ),
    "a listener that does not accept silences what it overflows": (
        [
            alert("ListenerNotAccepting", "critical", process="a", local_port="80"),
            alert("ListenOverflows", "critical", OTHER_HOST),
        ],
        [alert("ListenOverflows", "critical")],
    ),
    "beyond the limit silences near the limit": (
        [alert("TimeWaitOverflow", "warning"), alert("TimeWaitNearLimit", "warning", OTHER_HOST)],
        [alert("TimeWaitNearLimit", "warning")],
    ),
}
"""Situation -> (alerts that are sent, alerts that are inhibited)."""


@require("prometheus-alertmanager")
@pytest.mark.parametrize("case", CASES)
def test_alert_inhibits_its_consequences(alertmanager: str, case: str) -> None:
    heard, silenced = CASES[case]
    body = json.dumps([{"labels": labels} for labels in (*heard, *silenced)]).encode()
    for _ in until("Alertmanager takes alerts"):
        if _ask(alertmanager, body) is not None:
            break
    # It learns of alerts one by one: for a moment, one may stand there without what inhibits it.
    for _ in until(f"of {case} {silenced} alone are inhibited"):
        if inhibited(alertmanager, *heard, *silenced) == silenced:
            break
