"""Sockets of the real kernel, with both forms of the request."""

from __future__ import annotations

import os
import platform
import socket
import struct
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Final, NamedTuple

import pytest

from exporter.model.sockets import (
    CLOSE,
    CLOSE_WAIT,
    ESTABLISHED,
    FIN_WAIT1,
    FIN_WAIT2,
    LAST_ACK,
    NO_OWNER_KEY,
    SYN_RECV,
    TIME_WAIT,
    Listener,
    Socket,
    SocketBatch,
    SocketKey,
)
from exporter.netlink.source import NetlinkSource

from ..live.namespace import Namespace, missing
from ..running import until
from .kernels import Refusing, everything
from .messages import rows_of

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")

SO_COOKIE: Final = 57
IPPROTO_MPTCP: Final = 262
PASSING: Final = {SYN_RECV, FIN_WAIT1, LAST_ACK}
"""States that end by themselves when both ends are here."""


def kernel_is_older_than(*wanted: int) -> bool:
    return tuple(int(part) for part in platform.release().split("-")[0].split(".")[:2]) < wanted


class Reading(NamedTuple):
    """All sockets, with their keys, and all listeners."""

    sockets: list[Socket]
    keys: list[SocketKey]
    listeners: list[Listener]


def read(source: NetlinkSource) -> Reading:
    batches: list[SocketBatch] = list(everything(source))
    keys: list[SocketKey] = [(batch.keyspace, key) for batch in batches for key in batch.keys]
    return Reading(rows_of(batches), keys, source.listeners())


def by_family() -> NetlinkSource:
    """A source whose kernel has refused the older request."""
    transport = Refusing()
    source = NetlinkSource(transport)
    source.probe()
    assert transport.older == 1
    return source


BOTH_WAYS = pytest.mark.parametrize("source", [NetlinkSource, by_family], ids=["one walk", "by family"])


def cookie_of(one: socket.socket) -> int:
    cookie: int = struct.unpack("=Q", one.getsockopt(socket.SOL_SOCKET, SO_COOKIE, 8))[0]
    return cookie


def inode_of(one: socket.socket) -> int:
    return os.fstat(one.fileno()).st_ino


def at(sockets: list[Socket], one: socket.socket) -> Socket:
    """Return the row of one of the test's sockets."""
    (found,) = (row for row in sockets if row.cookie == cookie_of(one))
    return found


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as opened:
        yield opened


def settle(end: socket.socket, state: int) -> None:
    """Waits until the kernel says that this end is in that state: the peer's ACK may take 40 ms."""
    for _ in until(f"state {state}"):
        # The first byte of struct tcp_info is the state's number.
        if end.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] == state:
            return


def connect(
    stack: ExitStack, listener: socket.socket, host: str = "127.0.0.1", family: int = socket.AF_INET
) -> tuple[socket.socket, socket.socket]:
    client = stack.enter_context(socket.socket(family))
    client.connect((host, listener.getsockname()[1]))
    return client, stack.enter_context(listener.accept()[0])


@BOTH_WAYS
class TestRealSockets:
    def test_both_ends_of_a_connection_are_read(self, source: type[NetlinkSource], stack: ExitStack) -> None:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=7))
        client, server = connect(stack, listener)
        found = read(source())
        for one, other in ((client, server), (server, client)):
            (host, port), (_, remote_port) = one.getsockname(), other.getsockname()
            address = socket.inet_aton(host)
            expected = Socket(ESTABLISHED, address, port, address, remote_port, inode_of(one), cookie_of(one))
            assert at(found.sockets, one) == expected
        port = listener.getsockname()[1]
        (listening,) = (one for one in found.listeners if one.local_port == port)
        assert listening == Listener(socket.inet_aton("127.0.0.1"), port, inode_of(listener), 0, 7)

    def test_only_ipv4_mapped_addresses_are_ipv4(self, source: type[NetlinkSource], stack: ExitStack) -> None:
        listener = stack.enter_context(
            socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True)
        )
        pairs = [connect(stack, listener), connect(stack, listener, "::1", socket.AF_INET6)]
        found = read(source())
        for (client, server), address in zip(pairs, (b"\x7f\0\0\1", bytes(15) + b"\1"), strict=True):
            for one in (client, server):
                assert at(found.sockets, one)[1::2][:2] == (address, address)
        (listening,) = (one for one in found.listeners if one.local_port == listener.getsockname()[1])
        assert listening.local_address == bytes(16)

    def test_cookie_stays_and_key_changes_with_the_state(
        self, source: type[NetlinkSource], stack: ExitStack
    ) -> None:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        client, server = connect(stack, listener)
        reader, cookie = source(), cookie_of(client)
        keys, situations = [], []

        def record() -> None:
            found = read(reader)
            (position,) = (at for at, one in enumerate(found.sockets) if one.cookie == cookie)
            keys.append(found.keys[position])
            situations.append((found.sockets[position].state, found.sockets[position].owner_key))

        record()
        inode = inode_of(client)
        client.shutdown(socket.SHUT_WR)
        assert server.recv(1) == b""
        settle(client, FIN_WAIT2)
        record()
        assert at(read(reader).sockets, server).state == CLOSE_WAIT
        server.close()
        assert client.recv(1) == b""
        client.close()
        record()
        assert situations == [(ESTABLISHED, inode), (FIN_WAIT2, inode), (TIME_WAIT, NO_OWNER_KEY)]
        assert len({(state == TIME_WAIT, key) for (state, _), key in zip(situations, keys, strict=True)}) == 3

    def test_accept_gives_a_socket_an_owner_and_another_key(
        self, source: type[NetlinkSource], stack: ExitStack
    ) -> None:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        port = listener.getsockname()[1]
        client = stack.enter_context(socket.create_connection(("127.0.0.1", port)))
        reader = source()

        def find() -> tuple[Socket, SocketKey]:
            found = read(reader)
            (position,) = (
                at
                for at, one in enumerate(found.sockets)
                if (one.local_port, one.remote_port) == (port, client.getsockname()[1])
            )
            (queue,) = (one.queue_length for one in found.listeners if one.local_port == port)
            assert queue == (1 if found.sockets[position].owner_key == NO_OWNER_KEY else 0)
            return found.sockets[position], found.keys[position]

        waiting, key = find()
        assert waiting.owner_key == NO_OWNER_KEY
        accepted = stack.enter_context(listener.accept()[0])
        accepted_socket, accepted_key = find()
        assert accepted_socket == waiting._replace(owner_key=inode_of(accepted))
        assert key != accepted_key

    def test_owner_keys_of_all_sockets_that_a_process_has(
        self, source: type[NetlinkSource], stack: ExitStack
    ) -> None:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        held = [listener, *connect(stack, listener)]
        if not kernel_is_older_than(6, 8):
            held.append(stack.enter_context(socket.socket()))
            held[-1].bind(("127.0.0.1", 0))
        unconnected = stack.enter_context(socket.socket())
        keys = source().owner_keys()
        assert keys >= set(map(inode_of, held))
        assert inode_of(unconnected) not in keys

    def test_owner_keys_of_mptcp_sockets(self, source: type[NetlinkSource], stack: ExitStack) -> None:
        try:
            listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, IPPROTO_MPTCP)
        except OSError as error:
            pytest.skip(f"needs MPTCP: {error}")
        stack.enter_context(listener).bind(("127.0.0.1", 0))
        listener.listen()
        client = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM, IPPROTO_MPTCP))
        client.connect(listener.getsockname())
        accepted = stack.enter_context(listener.accept()[0])
        # A client without MPTCP: this connection is in the table of TCP only.
        plain = stack.enter_context(socket.create_connection(listener.getsockname()))
        fallback = stack.enter_context(listener.accept()[0])
        keys = source().mptcp_owner_keys()
        assert keys is not None
        assert keys >= {inode_of(listener), inode_of(client), inode_of(accepted)}
        assert not keys & {inode_of(plain), inode_of(fallback)}

    @pytest.mark.skipif(kernel_is_older_than(6, 8), reason="older kernels do not report them")
    def test_bound_only_socket_is_in_close_once(self, source: type[NetlinkSource], stack: ExitStack) -> None:
        bound = stack.enter_context(socket.socket())
        bound.bind(("127.0.0.1", 0))
        found = at(read(source()).sockets, bound)
        assert found == Socket(
            CLOSE, b"\x7f\0\0\1", bound.getsockname()[1], bytes(4), 0, inode_of(bound), cookie_of(bound)
        )


def _both_ways() -> tuple[Reading, Reading]:
    """In a quiet namespace: listeners, connections in several states and families, TIME_WAIT, bound."""
    with ExitStack() as stack:
        for host, family in (("127.0.0.1", socket.AF_INET), ("::1", socket.AF_INET6)):
            listener = stack.enter_context(socket.create_server((host, 0), family=family, backlog=50))
            pairs = [connect(stack, listener, host, family) for _ in range(40)]
            stack.enter_context(socket.create_connection((host, listener.getsockname()[1])))
            for client, server in pairs[::2]:
                client.shutdown(socket.SHUT_WR)
                server.recv(1)
            for _, server in pairs[::4]:
                server.close()
            stack.enter_context(socket.socket(family)).bind((host, 0))
        for _ in until("nothing changes any more"):
            if not {one.state for one in read(NetlinkSource()).sockets} & PASSING:
                break
        return read(NetlinkSource()), read(by_family())


@pytest.mark.live
def test_both_request_forms_return_the_same_sockets() -> None:
    if reason := missing():
        pytest.skip(reason)
    with Namespace() as namespace:
        one_walk, each_family = namespace.call(_both_ways)
    assert len(one_walk.sockets) >= 140
    assert {len(one.local_address) for one in one_walk.sockets} == {4, 16}
    assert Counter(one_walk.sockets) == Counter(each_family.sockets)
    assert Counter(one_walk.keys) == Counter(each_family.keys)
    assert Counter(one_walk.listeners) == Counter(each_family.listeners)
