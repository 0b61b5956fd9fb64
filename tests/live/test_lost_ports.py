"""Which of ten ephemeral ports connect() still gets, when others hold some: as many as the limit says."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable, Iterator
from typing import NamedTuple

import pytest

from exporter.model.snapshot import Snapshot

from ..metrics.families import collect, values
from ..tools import require
from .looking import HOME, close_first, observer, serve
from .namespace import Namespace

pytestmark = [pytest.mark.live, require("ip", "nft", "ss")]

HELD = 40_004
SERVICE = 5001


class Ports(NamedTuple):
    """What is exported of ephemeral ports."""

    used: float
    limit: float
    bound: float


def ports(seen: Snapshot) -> Ports:
    families = collect(seen)
    names = ("used_max", "limit", "bound")
    return Ports(*(values(families[f"socket_ephemeral_ports_{name}"])[()] for name in names))


def fill(host: str = HOME, source: str = "") -> Iterator[socket.socket]:
    """Connections to the service, until no port is left."""
    while True:
        calling = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        try:
            if source:
                # IP_BIND_ADDRESS_NO_PORT: the port is chosen by connect().
                calling.setsockopt(socket.IPPROTO_IP, 24, 1)
                calling.bind((source, 0))
            calling.connect((host, SERVICE))
        except OSError as failure:
            calling.close()
            if failure.errno == errno.EADDRNOTAVAIL:
                return
            raise
        yield calling


@pytest.fixture
def ten_ports(namespace: Namespace) -> Namespace:
    namespace.sysctl("net.ipv4.ip_local_port_range", "40000 40009")
    namespace.sysctl("net.ipv4.tcp_tw_reuse", 0)
    return namespace


def listening() -> object:
    return serve(HELD)


def listening_on_all_addresses() -> object:
    return socket.create_server(("::", HELD), family=socket.AF_INET6, dualstack_ipv6=True)


def bound() -> object:
    only_bound = socket.socket()
    only_bound.bind(("127.0.0.2", HELD))
    return only_bound


def call_around(hold: Callable[[], object]) -> tuple[int, Ports]:
    """How many connections there were, and what is exported then."""
    held = hold()
    with serve(SERVICE):
        connections = list(fill())
        assert held
        return len(connections), ports(observer().snapshot())


@pytest.mark.parametrize("hold", [listening, listening_on_all_addresses, bound])
def test_a_port_that_somebody_holds_is_lost_for_every_destination(
    hold: Callable[[], object], ten_ports: Namespace
) -> None:
    got, exported = ten_ports.call(call_around, hold)
    assert (got, exported.used, exported.limit) == (9, 9, 9)


def call_after_it_stopped_listening(close: bool) -> tuple[int, Ports]:
    """The exporter saw the listener: without it, an accepted connection looks like a call."""
    eyes = observer()
    with serve(HELD) as listener:
        calling = call_from(39_999)
        accepted, _ = listener.accept()
        eyes.snapshot()
    if close:
        # The TIME_WAIT is the service's.
        close_first(accepted, calling)
    with serve(SERVICE):
        connections = list(fill())
        return len(connections), ports(eyes.snapshot())


def call_from(port: int) -> socket.socket:
    calling = socket.socket()
    calling.bind((HOME, port))
    calling.connect((HOME, HELD))
    return calling


@pytest.mark.parametrize("close", [False, True], ids=["open", "time_wait"])
def test_the_port_of_a_served_connection_is_lost_when_its_listener_is_gone(
    close: bool, ten_ports: Namespace
) -> None:
    got, exported = ten_ports.call(call_after_it_stopped_listening, close)
    assert (got, exported.used, exported.limit) == (9, 9, 9)


def serve_in_the_range() -> Ports:
    server = serve(HELD)
    held = [(call_from(port), server.accept()) for port in range(39_990, 39_996)]
    assert held
    return ports(observer().snapshot())


def test_connections_served_on_a_port_in_the_range_use_it_once(ten_ports: Namespace) -> None:
    assert ten_ports.call(serve_in_the_range) == Ports(used=0, limit=9, bound=1)


def call_from_two_addresses() -> list[tuple[int, Ports]]:
    eyes, held, steps = observer(), [], []
    with serve(SERVICE):
        for source in ("127.0.0.2", "127.0.0.3"):
            held.append(list(fill(source=source)))
            steps.append((len(held[-1]), ports(eyes.snapshot())))
    return steps


def test_each_source_address_has_all_ports_and_the_fullest_counts(ten_ports: Namespace) -> None:
    full = Ports(used=10, limit=10, bound=10)
    assert ten_ports.call(call_from_two_addresses) == [(10, full), (10, full)]


def call_by_ipv6() -> tuple[int, Ports]:
    with socket.create_server(("::1", SERVICE), family=socket.AF_INET6):
        connections = list(fill("::1"))
        return len(connections), ports(observer().snapshot())


def test_ipv6_has_as_many_ports(ten_ports: Namespace) -> None:
    assert ten_ports.call(call_by_ipv6) == (10, Ports(used=10, limit=10, bound=10))


def fill_with_time_wait() -> tuple[int, Ports]:
    server, eyes = serve(SERVICE), observer()
    for calling in fill():
        close_first(calling, server.accept()[0])
    return len(list(fill())), ports(eyes.snapshot())


def test_ports_in_time_wait_are_used(ten_ports: Namespace) -> None:
    assert ten_ports.call(fill_with_time_wait) == (0, Ports(used=10, limit=10, bound=10))
