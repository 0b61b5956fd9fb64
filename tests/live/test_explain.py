"""`explain` on real leaks, on a quiet host, and without permissions."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest

from ..tools import require
from .helpers import UNPRIVILEGED, explain, hold_leak
from .namespace import Namespace, missing

pytestmark = [pytest.mark.live, require("ip", "nft", "ss")]


def findings(namespace: Namespace, *flags: str) -> list[dict[str, Any]]:
    result: dict[str, Any] = json.loads(explain(namespace, "--json", *flags).stdout)
    reported: list[dict[str, Any]] = result["findings"]
    return reported


def test_quiet_host_has_no_problems(namespace: Namespace) -> None:
    result = explain(namespace)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.splitlines()[0] == "No problems found."


def test_leak_is_reported_with_process_and_number(namespace: Namespace) -> None:
    with hold_leak(namespace, "printd", "not_closed", 120, 631) as pid:
        result = explain(namespace)
    assert (result.returncode, result.stderr) == (1, "")
    assert f"printd (pid {pid}) keeps 120 connections open that its clients have closed" in result.stdout
    assert "to its port 631 are in CLOSE_WAIT" in result.stdout
    assert "Data that could not be read" not in result.stdout


@pytest.mark.parametrize("cause", ["not_closed", "not_read", "not_accepted"])
def test_json_has_process_number_and_cause(namespace: Namespace, cause: str) -> None:
    with hold_leak(namespace, "printd", cause, 120, 631) as pid:
        (finding,) = findings(namespace)
    assert finding["kind"] == "close_wait"
    assert finding["processes"] == [{"name": "printd", "pids": [pid], "more_pids": 0}]
    assert (finding["count"], finding["port"], finding["direction"]) == (120, 631, "inbound")
    assert finding["cause"] == cause
    assert finding["oldest_seconds"] < 60


def test_leak_that_exhausts_descriptors_is_critical(namespace: Namespace) -> None:
    with hold_leak(namespace, "printd", "not_closed", 120, 631, limit=140) as pid:
        (finding,) = findings(namespace)
    assert finding["severity"] == "critical"
    assert (finding["usage"]["name"], finding["usage"]["limit"]) == (f"file descriptors of pid {pid}", 140)
    assert finding["usage"]["used"] >= 120


def test_psutil_reports_the_leak_and_its_blind_spot(namespace: Namespace) -> None:
    with hold_leak(namespace, "printd", "not_closed", 120, 631) as pid:
        result = explain(namespace, "--source=psutil")
    assert result.returncode == 1
    assert f"printd (pid {pid}) has 120 connections that its clients have closed" in result.stdout
    words = " ".join(result.stdout.split())
    assert "psutil does not provide them." in words
    assert "whose processes are unreadable are counted as one." in words


@pytest.mark.parametrize("source", ["netlink", "psutil"])
def test_unprivileged_user_gets_the_reason_for_unknown_processes(namespace: Namespace, source: str) -> None:
    if reason := missing("setpriv"):
        pytest.skip(reason)
    trial = [*UNPRIVILEGED, sys.executable, "-P", "-c", "import prometheus_client"]
    if namespace.run(trial, check=False).returncode:
        pytest.skip(f"needs a Python that all users can read, not {sys.executable}")
    with hold_leak(namespace, "printd", "not_closed", 120, 631):
        result = explain(namespace, f"--source={source}", through=UNPRIVILEGED)
    assert result.returncode == 1
    text = " ".join(result.stdout.split())
    assert "120 connections" in text
    assert "An unknown process" in text
    assert "121 sockets are held by processes that this user is not permitted to inspect." in text
    assert "CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH" in text


def test_failed_collector_is_reported_and_others_work(namespace: Namespace) -> None:
    with hold_leak(namespace, "printd", "not_accepted", 120, 631):
        result = explain(namespace, "--path.procfs=/nonexistent")
    assert result.returncode == 1
    assert "120 clients gave up waiting" in result.stdout
    assert "Could not be read: processes that own the sockets" in result.stdout
