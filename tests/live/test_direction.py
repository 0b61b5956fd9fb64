"""Direction and owner of real connections whose listener has gone, or was never theirs."""

from __future__ import annotations

import json
import socket
from collections import Counter

import pytest

from exporter.model.snapshot import Snapshot
from exporter.model.sockets import CLOSE_WAIT

from ..tools import require
from .helpers import explain, hold_leak, scrape
from .in_process import HOME, make_tracker, serve, set_comm
from .namespace import Namespace

pytestmark = [pytest.mark.live, require("ip", "nft", "ss")]

Found = Counter[tuple[str, str, int]]
"""(process, direction, port) -> sockets."""


def found(snapshot: Snapshot, state: int) -> Found:
    counts: Found = Counter()
    for group, count in (snapshot.groups or {}).items():
        if group.state == state:
            counts[snapshot.names.get(group.owner, "unknown"), group.direction.value, group.port] += count
    return counts


@pytest.mark.parametrize("source", ["netlink", "psutil"])
@pytest.mark.parametrize("port", [8601, 45_000], ids=["fixed", "ephemeral"])
def test_drained_service_has_one_series_and_one_finding(namespace: Namespace, port: int, source: str) -> None:
    with hold_leak(namespace, "printd", "drained", 120, port, limit=140):
        samples = scrape(namespace, f"--source={source}")
        report = json.loads(explain(namespace, "--json", f"--source={source}").stdout)
    states = samples.by("socket_states", "process", "remote_port", state="close_wait")
    assert states == {("printd", "inbound"): 120}
    (finding,) = report["findings"]
    assert finding["severity"] == "critical"
    assert (finding["kind"], finding["count"]) == ("close_wait", 120)
    assert (finding["direction"], finding["port"]) == ("inbound", port)
    assert finding["processes"][0]["name"] == "printd"


def call_from_one_port() -> Found:
    set_comm("caller")
    held = []
    for port in (3306, 5432, 6379, 8080, 9092):
        server = serve(port)
        client = socket.socket()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        client.bind((HOME, 7000))
        client.connect((HOME, port))
        accepted = server.accept()[0]
        accepted.shutdown(socket.SHUT_WR)
        client.recv(1)
        held.append((server, client, accepted))
    counts = found(make_tracker().snapshot(), CLOSE_WAIT)
    assert held
    return counts


def test_client_with_a_fixed_port_stays_outbound(namespace: Namespace) -> None:
    expected = {("caller", "outbound", port): 1 for port in (3306, 5432, 6379, 8080, 9092)}
    assert namespace.call(call_from_one_port) == expected
