"""Ephemeral ports: what is reported is what connect() and bind() then say."""

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
from .looking import HOME, connect, observer, serve
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
    """A namespace where connect() has ten ports to choose from."""
    namespace.sysctl("net.ipv4.ip_local_port_range", RANGE)
    return namespace


def use(seen: Snapshot) -> tuple[int, int]:
    """Ports used towards the fullest destination, and the limit, as exported."""
    assert seen.groups is not None
    assert seen.listeners is not None
    assert seen.limits
    assert seen.limits.ephemeral
    ephemeral = seen.limits.ephemeral
    fullest = ports_by_destination(seen.groups)
    lost = unavailable_ports(seen.groups, (listener for listener, _ in seen.listeners), ephemeral.contains)
    return (fullest[0].used if fullest else 0), ephemeral.size - lost


def until_refused(connecting: Callable[[], object], error: int) -> Iterator[object]:
    """What connecting gives, again and again, until the kernel has no port left."""
    while True:
        try:
            yield connecting()
        except OSError as failure:
            if failure.errno != error:
                raise
            return


def filled() -> tuple[list[tuple[int, int]], int]:
    server, second, eyes = serve(5001), serve(5002), observer()
    steps, kept = [use(eyes.snapshot())], []
    for pair in until_refused(lambda: connect(server), errno.EADDRNOTAVAIL):
        kept.append(pair)
        steps.append(use(eyes.snapshot()))
    others = [connect(second) for _ in range(3)]
    assert others
    return steps, use(eyes.snapshot())[0]


def test_the_use_reaches_the_limit_when_connect_fails(ten_ports: Namespace) -> None:
    steps, afterwards = ten_ports.call(filled)
    assert [(used, 10) for used in range(11)] == steps
    assert afterwards == 10


def filled_around_what_is_taken() -> tuple[int, int]:
    server, eyes = serve(5001), observer()
    taken = [serve(40005), bound(40007)]
    kept = list(until_refused(lambda: connect(server), errno.EADDRNOTAVAIL))
    assert taken
    assert kept
    return use(eyes.snapshot())


def bound(port: int) -> socket.socket:
    only_bound = socket.socket()
    only_bound.bind((HOME, port))
    return only_bound


def test_reserved_listening_and_bound_ports_lower_the_limit(ten_ports: Namespace) -> None:
    ten_ports.sysctl("net.ipv4.ip_local_reserved_ports", "40003")
    assert ten_ports.call(filled_around_what_is_taken) == (7, 7)


def filled_by_both_families() -> tuple[int, int]:
    server, eyes = serve(5001), observer()

    def connect_mapped() -> object:
        calling = socket.socket(socket.AF_INET6)
        calling.connect((f"::ffff:{HOME}", 5001))
        return calling, server.accept()

    kept = [connect_mapped() for _ in range(4)]
    kept += until_refused(lambda: connect(server), errno.EADDRNOTAVAIL)
    assert kept
    return use(eyes.snapshot())


def test_mapped_addresses_use_the_same_ports(ten_ports: Namespace) -> None:
    assert ten_ports.call(filled_by_both_families) == (10, 10)


def bound_one_after_the_other() -> list[int | None]:
    servers, eyes = [serve(port) for port in (5001, 5002)], observer()
    steps, kept = [eyes.snapshot().max_bound_ports], []

    def bind_and_connect() -> object:
        calling = socket.socket()
        calling.bind((HOME, 0))
        calling.connect(servers[len(kept) % 2].getsockname())
        return calling, servers[len(kept) % 2].accept()

    for pair in until_refused(bind_and_connect, errno.EADDRINUSE):
        kept.append(pair)
        eyes = observer()
        steps.append(eyes.snapshot().max_bound_ports)
    return steps


def test_bind_fails_when_all_ports_of_the_address_are_taken(ten_ports: Namespace) -> None:
    assert list(range(11)) == ten_ports.call(bound_one_after_the_other)


def test_what_a_listener_accepts_uses_no_ephemeral_port(ten_ports: Namespace) -> None:
    def accepted_only() -> tuple[int, int]:
        server, eyes = serve(5001), observer()
        pair = connect(server)
        seen = eyes.snapshot()
        assert pair
        return use(seen)

    assert ten_ports.call(accepted_only) == (1, 10)


def test_addresses_can_be_kept_out(ten_ports: Namespace) -> None:
    with ten_ports.popen([sys.executable, "-c", CONNECTED]) as holder:
        assert holder.stdout
        assert holder.stdout.readline().strip() == "ready"
        told = scrape(ten_ports)
        kept = scrape(ten_ports, "--no-collector.ephemeral-addresses")
        holder.kill()
    assert {(HOME, "5001"): 1} == told.by("socket_ephemeral_ports_used", "remote_address", "remote_port")
    assert "socket_ephemeral_ports_used" not in kept.samples
    assert {(): 1} == kept.by("socket_ephemeral_ports_used_max")
