"""Direction and owner of real connections whose listener has gone, or was never theirs."""

from __future__ import annotations

import json
import socket
from collections import Counter

import pytest

from exporter.model.groups import Direction
from exporter.model.snapshot import Snapshot
from exporter.model.sockets import CLOSE_WAIT, ESTABLISHED, TIME_WAIT

from ..tools import require
from .helpers import explain, hold_leak, scrape
from .in_process import HOME, Pair, close_first, connect, fork_process, kill, make_tracker, serve, set_comm
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


def serve_on(family: socket.AddressFamily, address: str) -> list[socket.socket]:
    """Serve on port 8080 of one family: 3 connections are not accepted, 4 are in TIME_WAIT."""
    server = socket.socket(family)
    if family == socket.AF_INET6:
        server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    server.bind(("::" if family == socket.AF_INET6 else "0.0.0.0", 8080))
    server.listen(16)
    for _ in range(4):
        client = socket.create_connection((address, 8080))
        close_first(server.accept()[0], client)
    return [server, *(socket.create_connection((address, 8080)) for _ in range(3))]


def serve_both_families() -> Counter[tuple[str, int]]:
    programs = [
        fork_process("web4", lambda: serve_on(socket.AF_INET, HOME)),
        fork_process("web6", lambda: serve_on(socket.AF_INET6, "::1")),
    ]
    snapshot = make_tracker().snapshot()
    for pid in programs:
        kill(pid)
    inbound: Counter[tuple[str, int]] = Counter()
    for group, count in (snapshot.groups or {}).items():
        if group.direction is Direction.INBOUND:
            inbound[snapshot.names.get(group.owner, "unknown"), group.state] += count
    return inbound


def test_ipv4_and_v6only_services_on_one_port_are_told_apart(namespace: Namespace) -> None:
    assert namespace.call(serve_both_families) == {
        ("web4", ESTABLISHED): 3,
        ("web4", TIME_WAIT): 4,
        ("web6", ESTABLISHED): 3,
        ("web6", TIME_WAIT): 4,
    }


def call_from_a_former_listening_port() -> tuple[Found, Found, Found]:
    set_comm("caller")
    destination, former = serve(443), serve(45_000)
    tracker = make_tracker()
    tracker.snapshot()
    kept = connect(former)  # Seen while the listener exists.
    tracker.snapshot()
    former.close()
    tracker.snapshot()

    def call() -> Pair:
        client = socket.socket()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        client.bind((HOME, 45_000))
        client.connect((HOME, 443))
        return client, destination.accept()[0]

    pair = call()
    open_found = found(tracker.snapshot(), ESTABLISHED)
    close_first(*pair)
    waiting = found(tracker.snapshot(), TIME_WAIT)
    close_first(kept[1], kept[0])
    return open_found, waiting, found(tracker.snapshot(), TIME_WAIT)


def test_former_listening_port_may_call_others(namespace: Namespace) -> None:
    opened, waiting, both = namespace.call(call_from_a_former_listening_port)
    assert opened["caller", "outbound", 443] == 1
    assert opened["caller", "inbound", 45_000] == 1
    assert waiting == {("caller", "outbound", 443): 1}
    assert both == {("caller", "outbound", 443): 1, ("caller", "inbound", 45_000): 1}


def call_after_the_program_that_listened() -> Found:
    destination, tracker = serve(443), make_tracker()
    former = fork_process("former", lambda: serve(8601))
    tracker.snapshot()
    kill(former)
    client = socket.socket()
    client.bind((HOME, 8601))
    client.connect((HOME, 443))
    close_first(client, destination.accept()[0])
    return found(tracker.snapshot(), TIME_WAIT)


def test_time_wait_is_not_that_of_a_program_that_had_listened(namespace: Namespace) -> None:
    assert namespace.call(call_after_the_program_that_listened) == {("unknown", "outbound", 443): 1}
