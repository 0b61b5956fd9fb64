"""Ephemeral ports: reported usage and limit agree with the results of connect() and bind()."""

from __future__ import annotations

import errno
import socket
import sys
from collections.abc import Callable, Iterator
from typing import Final

import pytest

from exporter.model.ephemeral_ports import ports_by_destination, unavailable_ports
from exporter.model.snapshot import Snapshot

from ..tools import require
from .helpers import scrape
from .in_process import HOME, connect, make_tracker, serve
from .namespace import Namespace

pytestmark = [pytest.mark.live, require("ip", "nft", "ss")]

RANGE: Final = "40000 40009"
CONNECTED: Final = """
import socket, time
server = socket.create_server(("127.0.0.1", 5001))
client = socket.create_connection(("127.0.0.1", 5001))
print("ready", flush=True)
time.sleep(60)
"""


@pytest.fixture
def ten_ports(namespace: Namespace) -> Namespace:
    """Return a namespace with ten ephemeral ports."""
    namespace.sysctl("net.ipv4.ip_local_port_range", RANGE)
    return namespace


def usage(snapshot: Snapshot) -> tuple[int, int]:
    """Return the ports used towards the destination with most of them, and the limit, as exported."""
    assert snapshot.groups is not None
    assert snapshot.listeners is not None
    assert snapshot.limits
    assert snapshot.limits.ephemeral
    ephemeral = snapshot.limits.ephemeral
    destinations = ports_by_destination(snapshot.groups)
    unavailable = unavailable_ports(
        snapshot.groups, (listener for listener, _ in snapshot.listeners), ephemeral.contains
    )
    return (destinations[0].used if destinations else 0), ephemeral.size - unavailable


def until_refused(open_pair: Callable[[], object], error: int) -> Iterator[object]:
    """Yield the results of `open_pair()` until the kernel has no port left."""
    while True:
        try:
            yield open_pair()
        except OSError as failure:
            if failure.errno != error:
                raise
            return


def usage_until_connect_fails() -> tuple[list[tuple[int, int]], int]:
    server, other_server, tracker = serve(5001), serve(5002), make_tracker()
    steps, open_pairs = [usage(tracker.snapshot())], []
    for pair in until_refused(lambda: connect(server), errno.EADDRNOTAVAIL):
        open_pairs.append(pair)
        steps.append(usage(tracker.snapshot()))
    other_pairs = [connect(other_server) for _ in range(3)]
    assert other_pairs
    return steps, usage(tracker.snapshot())[0]


def test_usage_equals_the_limit_when_connect_fails(ten_ports: Namespace) -> None:
    steps, afterwards = ten_ports.call(usage_until_connect_fails)
    assert [(used, 10) for used in range(11)] == steps
    assert afterwards == 10


def usage_with_unavailable_ports() -> tuple[int, int]:
    server, tracker = serve(5001), make_tracker()
    holding = [serve(40005), bound(40007)]
    open_pairs = list(until_refused(lambda: connect(server), errno.EADDRNOTAVAIL))
    assert holding
    assert open_pairs
    return usage(tracker.snapshot())


def bound(port: int) -> socket.socket:
    only_bound = socket.socket()
    only_bound.bind((HOME, port))
    return only_bound


def test_reserved_listening_and_bound_ports_lower_limit(ten_ports: Namespace) -> None:
    ten_ports.sysctl("net.ipv4.ip_local_reserved_ports", "40003")
    assert ten_ports.call(usage_with_unavailable_ports) == (7, 7)


def usage_by_both_families() -> tuple[int, int]:
    server, tracker = serve(5001), make_tracker()

    def connect_mapped() -> object:
        client = socket.socket(socket.AF_INET6)
        client.connect((f"::ffff:{HOME}", 5001))
        return client, server.accept()

    open_pairs = [connect_mapped() for _ in range(4)]
    open_pairs += until_refused(lambda: connect(server), errno.EADDRNOTAVAIL)
    assert open_pairs
    return usage(tracker.snapshot())


def test_mapped_addresses_share_ports_with_ipv4(ten_ports: Namespace) -> None:
    assert ten_ports.call(usage_by_both_families) == (10, 10)


def max_bound_ports_until_bind_fails() -> list[int | None]:
    servers, tracker = [serve(port) for port in (5001, 5002)], make_tracker()
    steps, open_pairs = [tracker.snapshot().max_bound_ports], []

    def bind_and_connect() -> object:
        client = socket.socket()
        client.bind((HOME, 0))
        client.connect(servers[len(open_pairs) % 2].getsockname())
        return client, servers[len(open_pairs) % 2].accept()

    for pair in until_refused(bind_and_connect, errno.EADDRINUSE):
        open_pairs.append(pair)
        tracker = make_tracker()
        steps.append(tracker.snapshot().max_bound_ports)
    return steps


def test_all_ports_are_bound_when_bind_fails(ten_ports: Namespace) -> None:
    assert list(range(11)) == ten_ports.call(max_bound_ports_until_bind_fails)


def test_accepted_connection_uses_no_ephemeral_port(ten_ports: Namespace) -> None:
    def usage_of_one_pair() -> tuple[int, int]:
        server, tracker = serve(5001), make_tracker()
        pair = connect(server)
        snapshot = tracker.snapshot()
        assert pair
        return usage(snapshot)

    assert ten_ports.call(usage_of_one_pair) == (1, 10)


def test_addresses_can_be_disabled(ten_ports: Namespace) -> None:
    with ten_ports.popen([sys.executable, "-c", CONNECTED]) as program:
        assert program.stdout
        assert program.stdout.readline().strip() == "ready"
        with_addresses = scrape(ten_ports)
        without_addresses = scrape(ten_ports, "--no-collector.ephemeral-addresses")
        program.kill()
    assert {(HOME, "5001"): 1} == with_addresses.by(
        "socket_ephemeral_ports_used", "remote_address", "remote_port"
    )
    assert "socket_ephemeral_ports_used" not in without_addresses.samples
    assert {(): 1} == without_addresses.by("socket_ephemeral_ports_used_max")
