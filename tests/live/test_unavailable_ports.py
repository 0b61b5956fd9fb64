"""connect() gets as many of ten ephemeral ports as the limit reports, when other sockets hold some."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable, Iterator
from typing import NamedTuple

import pytest

from exporter.model.snapshot import Snapshot

from ..metrics.families import collect, values
from ..tools import require
from .in_process import HOME, close_first, make_tracker, serve
from .namespace import Namespace

pytestmark = [pytest.mark.live, require("ip", "nft", "ss")]

HELD_PORT = 40_004
SERVICE = 5001


class Ports(NamedTuple):
    """The exported values for ephemeral ports."""

    used: float
    limit: float
    bound: float


def ports(snapshot: Snapshot) -> Ports:
    families = collect(snapshot)
    names = ("used_max", "limit", "bound")
    return Ports(*(values(families[f"socket_ephemeral_ports_{name}"])[()] for name in names))


def connect_until_exhausted(host: str = HOME, source: str = "") -> Iterator[socket.socket]:
    """Yield connections to the service until no port is left."""
    while True:
        client = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        try:
            if source:
                # IP_BIND_ADDRESS_NO_PORT: the port is chosen by connect().
                client.setsockopt(socket.IPPROTO_IP, 24, 1)
                client.bind((source, 0))
            client.connect((host, SERVICE))
        except OSError as failure:
            client.close()
            if failure.errno == errno.EADDRNOTAVAIL:
                return
            raise
        yield client


@pytest.fixture
def ten_ports(namespace: Namespace) -> Namespace:
    namespace.sysctl("net.ipv4.ip_local_port_range", "40000 40009")
    namespace.sysctl("net.ipv4.tcp_tw_reuse", 0)
    return namespace


def listening() -> object:
    return serve(HELD_PORT)


def listening_on_all_addresses() -> object:
    return socket.create_server(("::", HELD_PORT), family=socket.AF_INET6, dualstack_ipv6=True)


def bound() -> object:
    only_bound = socket.socket()
    only_bound.bind(("127.0.0.2", HELD_PORT))
    return only_bound


def connect_while_held(hold: Callable[[], object]) -> tuple[int, Ports]:
    """Return the number of connections that were possible, and the exported values."""
    holding = hold()
    with serve(SERVICE):
        connections = list(connect_until_exhausted())
        assert holding
        return len(connections), ports(make_tracker().snapshot())


@pytest.mark.parametrize("hold", [listening, listening_on_all_addresses, bound])
def test_bound_port_is_unavailable_for_every_destination(
    hold: Callable[[], object], ten_ports: Namespace
) -> None:
    connected, exported = ten_ports.call(connect_while_held, hold)
    assert (connected, exported.used, exported.limit) == (9, 9, 9)


def connect_after_listener_closed(close: bool) -> tuple[int, Ports]:
    """The tracker has seen the listener: without it, an accepted connection looks outbound."""
    tracker = make_tracker()
    with serve(HELD_PORT) as listener:
        client = connect_from(39_999)
        accepted, _ = listener.accept()
        tracker.snapshot()
    if close:
        # The TIME_WAIT belongs to the service.
        close_first(accepted, client)
    with serve(SERVICE):
        connections = list(connect_until_exhausted())
        return len(connections), ports(tracker.snapshot())


def connect_from(port: int) -> socket.socket:
    client = socket.socket()
    client.bind((HOME, port))
    client.connect((HOME, HELD_PORT))
    return client


@pytest.mark.parametrize("close", [False, True], ids=["open", "time_wait"])
def test_port_of_inbound_connection_stays_unavailable(close: bool, ten_ports: Namespace) -> None:
    connected, exported = ten_ports.call(connect_after_listener_closed, close)
    assert (connected, exported.used, exported.limit) == (9, 9, 9)


def accept_on_a_port_in_the_range() -> Ports:
    server = serve(HELD_PORT)
    holding = [(connect_from(port), server.accept()) for port in range(39_990, 39_996)]
    assert holding
    return ports(make_tracker().snapshot())


def test_inbound_connections_on_an_ephemeral_port_use_one_port(ten_ports: Namespace) -> None:
    assert ten_ports.call(accept_on_a_port_in_the_range) == Ports(used=0, limit=9, bound=1)


def connect_from_two_addresses() -> list[tuple[int, Ports]]:
    tracker, holding, steps = make_tracker(), [], []
    with serve(SERVICE):
        for source in ("127.0.0.2", "127.0.0.3"):
            holding.append(list(connect_until_exhausted(source=source)))
            steps.append((len(holding[-1]), ports(tracker.snapshot())))
    return steps


def test_each_source_address_has_its_own_ports(ten_ports: Namespace) -> None:
    full = Ports(used=10, limit=10, bound=10)
    assert ten_ports.call(connect_from_two_addresses) == [(10, full), (10, full)]


def connect_by_ipv6() -> tuple[int, Ports]:
    with socket.create_server(("::1", SERVICE), family=socket.AF_INET6):
        connections = list(connect_until_exhausted("::1"))
        return len(connections), ports(make_tracker().snapshot())


def test_ipv6_has_the_same_number_of_ports(ten_ports: Namespace) -> None:
    assert ten_ports.call(connect_by_ipv6) == (10, Ports(used=10, limit=10, bound=10))


def leave_all_ports_in_time_wait() -> tuple[int, Ports]:
    server, tracker = serve(SERVICE), make_tracker()
    for client in connect_until_exhausted():
        close_first(client, server.accept()[0])
    return len(list(connect_until_exhausted())), ports(tracker.snapshot())


def test_ports_in_time_wait_are_used(ten_ports: Namespace) -> None:
    assert ten_ports.call(leave_all_ports_in_time_wait) == (0, Ports(used=10, limit=10, bound=10))
