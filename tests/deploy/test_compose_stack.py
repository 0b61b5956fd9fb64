"""The programs of deploy/compose except Grafana, started with the flags of their containers."""

from __future__ import annotations

import json
import socket
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from ..demo.programs import Programs
from ..end_to_end.inside import inside, once
from ..running import until
from ..tools import require
from .compose import Service, addresses, listens, on_host, services
from .rules import ALERTS, rules

PROGRAMS: Final = {"prometheus": "prometheus", "alertmanager": "prometheus-alertmanager"}
"""Service -> command in Debian."""


def on_this_host(service: Service, data: Path) -> list[str]:
    """Return a service's flags with paths of this host instead of its container's."""
    words = []
    for word in service["command"]:
        name, equals, value = word.partition("=")
        if value.startswith("/"):
            value = str(on_host(service, value) or data / name.strip("-"))
        words.append(f"{name}{equals}{value}")
    return words


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Programs]:
    """Run all services except Grafana in a separate network namespace."""
    folder = tmp_path_factory.mktemp("stack")
    receiver = services()["receiver"]
    script = on_host(receiver, receiver["entrypoint"][-1])
    assert script
    with inside(), Programs(folder / "logs") as programs:
        programs.start("exporter", [sys.executable, "-m", "exporter", *services()["exporter"]["command"]])
        programs.start("receiver", [sys.executable, script, *receiver["command"]])
        for name, program in PROGRAMS.items():
            programs.start(name, [program, *on_this_host(services()[name], folder / name)])
        yield programs
        assert programs.ended() == []


def ask(name: str, path: str, body: object = None) -> Any:
    """Return the response of a service, after waiting for it."""
    ((host, port),) = listens(services()[name])
    data = json.dumps(body).encode() if body is not None else None
    request = urllib.request.Request(
        f"http://{host}:{port}{path}", data, {"Content-Type": "application/json"}
    )
    for _ in until(f"{name} answers", patience=60):
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310  # our own URL
                text = answer.read()
                return json.loads(text) if text else None
        except OSError:
            continue
    raise AssertionError


def marked(test: Callable[..., None]) -> Callable[..., None]:
    """Mark a test of the running stack."""
    for mark in (once, pytest.mark.live, require(*PROGRAMS.values()), pytest.mark.usefixtures("stack")):
        test = mark(test)
    return test


@marked
def test_prometheus_scrapes_exporter_and_notifies_alertmanager() -> None:
    for _ in until("Prometheus has found both", patience=60):
        result = ask("prometheus", "/api/v1/alertmanagers")["data"]["activeAlertmanagers"]
        targets = ask("prometheus", "/api/v1/targets")["data"]["activeTargets"]
        if result and targets:
            break
    assert [addresses(each["url"]) for each in result] == [{("localhost", 9093)}]
    assert [each["scrapeUrl"] for each in targets] == ["http://localhost:10066/metrics"]
    # Where we ask ourselves: Prometheus would only within half a minute.
    with urllib.request.urlopen("http://localhost:10066/metrics", timeout=20) as answer:
        assert "socket_exporter_build_info" in answer.read().decode()
    groups = ask("prometheus", "/api/v1/rules")["data"]["groups"]
    alerts = {rule["name"] for group in groups for rule in group["rules"] if rule["type"] == "alerting"}
    assert alerts == {rule["alert"] for rule in rules(ALERTS)}


@marked
def test_alertmanager_has_its_configuration_and_no_cluster() -> None:
    status = ask("alertmanager", "/api/v2/status")
    assert "http://127.0.0.1:9095/pages" in status["config"]["original"]
    assert status["cluster"]["status"] == "disabled"


@marked
def test_receiver_prints_notifications(stack: Programs) -> None:
    labels = {"alertname": "CloseWaitStuck", "severity": "critical"}
    annotations = {"description": "Process printd leaks.", "runbook_url": "https://example.org/runbook"}
    alert = {"status": "firing", "labels": labels, "annotations": annotations}
    ask("receiver", "/pages", {"alerts": [alert, {**alert, "status": "resolved"}]})
    output = stack.output("receiver").splitlines()
    assert output[-2:] == [
        "pages: firing CloseWaitStuck (critical) Process printd leaks. https://example.org/runbook",
        "pages: resolved CloseWaitStuck (critical) Process printd leaks. https://example.org/runbook",
    ]
    for nonsense in ("[]", '{"alerts": [{}]}', "{"):
        with socket.create_connection(next(iter(listens(services()["receiver"])))) as connection:
            head = f"POST /pages HTTP/1.1\r\nContent-Length: {len(nonsense)}\r\n\r\n"
            connection.sendall((head + nonsense).encode())
            assert connection.recv(4096).startswith(b"HTTP/1.1 400 ")
