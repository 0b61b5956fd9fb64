"""`explain` on real leaks, on a quiet host, and without permissions."""

from __future__ import annotations

import json
import re
import sys
from typing import Any

import pytest

from ..tools import require
from .helpers import UNPRIVILEGED, explain, hold_leak, hold_situation
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
    assert finding["processes"] == [{"name": "printd", "pids": [pid], "more_pids": 0, "services": []}]
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
    assert f"printd (pid {pid}) has 120 connections that its clients on port 631 have closed" in result.stdout
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


def test_process_out_of_descriptors_is_the_headline_at_any_age(namespace: Namespace) -> None:
    with hold_situation(namespace, "out_of_descriptors") as pids:
        headline, *others = findings(namespace)
    count, pid = headline["count"], pids["printd"]
    assert headline["title"] == (
        f"printd (pid {pid}) is out of file descriptors: "
        f"{count} of 64 are connections that its clients have closed"
    )
    assert headline["severity"] == "critical"
    assert count >= 58
    assert headline["oldest_seconds"] < 60
    assert (headline["usage"]["used"], headline["usage"]["limit"]) == (64, 64)
    assert [other["kind"] for other in others if other["severity"] == "critical"] == []


def test_queue_is_full_above_its_backlog(namespace: Namespace) -> None:
    with hold_situation(namespace, "queue_at_backlog"):
        (finding,) = findings(namespace)
    assert (finding["severity"], finding["usage"]["used"], finding["usage"]["limit"]) == ("warning", 8, 8)
    assert "is nearly full" in finding["title"]
    assert "1 more fits" in finding["detail"]


def test_full_queue_is_critical(namespace: Namespace) -> None:
    with hold_situation(namespace, "queue_above_backlog") as pids:
        (finding,) = findings(namespace)
    assert (finding["severity"], finding["usage"]["used"], finding["usage"]["limit"]) == ("critical", 9, 8)
    assert f"`gdb -p {pids['printd']}`" in " ".join(finding["steps"])


def test_syns_to_a_full_queue_of_this_host_are_explained(namespace: Namespace) -> None:
    with hold_situation(namespace, "unanswered") as pids:
        reported = {finding["kind"]: finding for finding in findings(namespace)}
    finding = reported["syn_sent"]
    assert finding["title"] == f"client (pid {pids['client']}) gets no answer from port 631"
    assert "The destination is this host: either the accept queue of that port is full" in finding["detail"]
    assert reported["accept_queue"]["severity"] == "critical"


def test_master_is_told_from_its_workers(namespace: Namespace) -> None:
    with hold_situation(namespace, "workers") as pids:
        (finding,) = findings(namespace)
    assert finding["title"].startswith(f"nginx (pid {pids['nginx']}) accepts too slowly")
    first, second = sorted((pids["worker 0"], pids["worker 1"]))
    assert f"Pid {pids['nginx']} is that of the master" in finding["detail"]
    assert f"(pids {first} and {second}) probably accept" in finding["detail"]
    assert f"`gdb -p {first}`" in " ".join(finding["steps"])


def test_local_process_that_does_not_close_is_named_to_its_peers(namespace: Namespace) -> None:
    with hold_situation(namespace, "half_closed") as pids:
        reported = {finding["kind"]: finding for finding in findings(namespace)}
    finding = reported["fin_wait2"]
    assert finding["count"] == 1_000
    assert (
        f"Both ends are on this host: printd (pid {pids['printd']}) has the other ends" in finding["detail"]
    )
    assert "the leak is there" not in finding["detail"]
    assert reported["close_wait"]["processes"][0]["pids"] == [pids["printd"]]


def test_age_of_connections_with_keepalive_has_two_bounds(namespace: Namespace) -> None:
    with hold_situation(namespace, "keepalive") as pids:
        text = explain(namespace).stdout
        (holder,) = json.loads(explain(namespace, "--json").stdout)["holders"]["close_wait"]
    assert text.startswith("No problems found.\n")
    assert re.search(
        rf" 5 goserver \(pid {pids['goserver']}\), inbound to port 631, the oldest for .* to \d s ",
        " ".join(text.split()),
    )
    assert holder["process"] == {
        "name": "goserver",
        "pids": [pids["goserver"]],
        "more_pids": 0,
        "services": [],
    }
    assert holder["oldest_seconds"] < 1.5
    assert holder["oldest_at_most_seconds"] >= 3


def test_owners_are_listed_even_if_all_is_well(namespace: Namespace) -> None:
    with hold_leak(namespace, "printd", "not_closed", 3, 631) as pid:
        text = explain(namespace).stdout
    assert text.startswith("No problems found.\n\nMost sockets in CLOSE_WAIT\n")
    assert f"         3  printd (pid {pid}), inbound to port 631, the oldest for" in text


@pytest.mark.parametrize(
    ("through", "words"),
    [
        ([], "It has the capabilities"),
        (["setpriv", "--bounding-set=-sys_ptrace"], "--cap-add=SYS_PTRACE"),
    ],
)
def test_root_is_not_told_to_become_root(namespace: Namespace, through: list[str], words: str) -> None:
    if reason := missing("setpriv"):
        pytest.skip(reason)
    # A user namespace of its own: root there cannot inspect the processes outside.
    prefix = through or ["unshare", "--user", "--map-root-user"]
    if namespace.run([*prefix, "true"], check=False).returncode:
        pytest.skip(f"needs permission for {' '.join(prefix)}")
    with hold_leak(namespace, "printd", "not_closed", 120, 631):
        text = " ".join(explain(namespace, through=prefix).stdout.split())
    assert "Run it as root" not in text
    assert words in text
