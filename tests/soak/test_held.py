"""The states that the processes of the soak test report are those of real sockets."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from typing import NamedTuple

import pytest

from .held import count_states, state_of


class Connection(NamedTuple):
    """Both ends of a connection over loopback."""

    client: socket.socket
    server: socket.socket

    def reset(self) -> None:
        """Have the client reset the connection."""
        self.client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.client.close()


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


@pytest.fixture
def connection(listener: socket.socket) -> Iterator[Connection]:
    with ExitStack() as stack:
        client = stack.enter_context(socket.create_connection(listener.getsockname()))
        yield Connection(client, stack.enter_context(listener.accept()[0]))


def unused_port() -> int:
    """Return a port below 32768 on which no process listens."""
    for port in range(20_000, 21_000):
        with socket.socket() as sock, suppress(OSError):
            sock.bind(("127.0.0.1", port))
            return port
    raise AssertionError("no port is free")


def test_sockets_in_a_table_of_the_kernel_have_its_states(
    listener: socket.socket, connection: Connection
) -> None:
    port = listener.getsockname()[1]
    client_port = connection.client.getsockname()[1]
    assert count_states([listener, *connection]) == {
        "listen, none": 1,
        f"established, {port}": 1,
        f"established, {client_port}": 1,
    }
    connection.client.shutdown(socket.SHUT_WR)
    assert connection.server.recv(1) == b""
    assert count_states([connection.server]) == {f"close_wait, {client_port}": 1}


def test_connection_of_a_port_below_the_ephemeral_ones_is_inbound() -> None:
    with (
        socket.create_server(("127.0.0.1", unused_port())) as listener,
        socket.create_connection(listener.getsockname()),
        listener.accept()[0] as accepted,
    ):
        assert count_states([accepted]) == {"established, inbound": 1}


def test_descriptor_of_a_reset_connection_is_dead(connection: Connection) -> None:
    connection.reset()
    with pytest.raises(ConnectionResetError):
        connection.server.recv(1)
    assert state_of(connection.server) == 7
    assert count_states([connection.server], {connection.server}) == {"dead, lost": 1}
    assert count_states([connection.server]) == {"dead, unknown": 1}


def test_socket_that_was_never_connected_is_dead() -> None:
    with socket.socket() as sock:
        assert count_states([sock]) == {"dead, unknown": 1}
