"""`explain` on connections that keepalive or a reset has removed, and the program has not closed."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ..tools import require
from .helpers import explain, hold_situation
from .namespace import Namespace

pytestmark = [pytest.mark.live, require("ip", "nft", "ss")]


def report(namespace: Namespace) -> dict[str, Any]:
    result: dict[str, Any] = json.loads(explain(namespace, "--json").stdout)
    return result


def test_leak_under_keepalive_is_reported_with_its_dead_descriptors(namespace: Namespace) -> None:
    namespace.sysctl("net.ipv4.tcp_fin_timeout", 2)
    with hold_situation(namespace, "keepalive_leak") as pids:
        document = report(namespace)
    (finding,) = document["findings"]
    assert (finding["kind"], finding["severity"]) == ("close_wait", "warning")
    assert finding["title"] == (
        f"goserver (pid {pids['goserver']}) keeps 51 connections open that its clients have closed, "
        "and has 68 dead file descriptors"
    )
    assert (finding["count"], finding["dead_fds"]) == (51, 68)
    assert "Probably they belong to the same leak." in finding["detail"]
    (holder,) = document["holders"]["dead_fds"]
    assert (holder["process"]["pids"], holder["count"]) == ([pids["goserver"]], 68)


def test_client_whose_connections_are_all_dead_is_reported(namespace: Namespace) -> None:
    with hold_situation(namespace, "reset_client") as pids:
        (finding,) = report(namespace)["findings"]
    used = finding["usage"]["used"]
    assert finding["kind"] == "dead_fds"
    assert finding["title"] == (
        f"client (pid {pids['client']}) is running out of file descriptors: "
        f"30 of {used} are TCP sockets without a connection"
    )
    assert finding["usage"]["limit"] == 40
    assert "Probably the program does not close connections that have ended." in finding["detail"]
