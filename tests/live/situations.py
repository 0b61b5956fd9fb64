"""Situations that `explain` tells apart: `situations.py NAME`, run inside a Namespace.

It prints a line of JSON, role -> pid, when the situation exists, and ends when its stdin does.
"""

from __future__ import annotations

import json
import os
import resource
import socket
import struct
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

ADDRESS: Final = "127.0.0.1"
PORT: Final = 631


def rename(name: str) -> None:
    Path("/proc/self/comm").write_text(name)


def fork(function: Callable[[], None]) -> int:
    """Run the function in a child, which ends with this process, and wait until it has returned."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reader)
        function()
        os.write(writer, b"1")
        sys.stdin.read()
        os._exit(0)
    os.close(writer)
    assert os.read(reader, 1) == b"1"
    os.close(reader)
    return pid


def connect(count: int) -> list[socket.socket]:
    return [socket.create_connection((ADDRESS, PORT)) for _ in range(count)]


def connect_and_stay(count: int) -> None:
    rename("client")
    hold(*connect(count))


def connect_and_close(count: int) -> None:
    for client in connect(count):
        client.close()


def connect_and_shut_down(count: int) -> None:
    rename("client")
    clients = connect(count)
    for client in clients:
        client.shutdown(socket.SHUT_WR)
    hold(*clients)


def out_of_descriptors() -> dict[str, int]:
    """A server has accepted until its limit of 64 descriptors; all clients have closed."""
    rename("printd")
    listener = socket.create_server((ADDRESS, PORT), backlog=128)
    kept: list[socket.socket] = []
    fork(partial(connect_and_close, 80))
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
    try:
        while True:
            kept.append(listener.accept()[0])
    except OSError:
        for connection in kept:
            connection.recv(1)
    hold(listener, *kept)
    return {"printd": os.getpid()}


def accept_queue(length: int) -> dict[str, int]:
    """A server with a backlog of 8 accepts nothing, and `length` clients wait."""
    rename("printd")
    hold(socket.create_server((ADDRESS, PORT), backlog=8))
    client = fork(partial(connect_and_stay, length))
    return {"printd": os.getpid(), "client": client}


def queue_at_backlog() -> dict[str, int]:
    return accept_queue(8)


def queue_above_backlog() -> dict[str, int]:
    return accept_queue(9)


def unanswered() -> dict[str, int]:
    """The accept queue is full, and the SYNs of 100 more clients are dropped."""

    def call() -> None:
        rename("client")
        for _ in range(100):
            caller = socket.socket()
            caller.setblocking(False)
            caller.connect_ex((ADDRESS, PORT))
            hold(caller)

    return accept_queue(9) | {"client": fork(call)}


def workers() -> dict[str, int]:
    """A master listens; its workers hang, each with one connection, and 5 more clients wait."""
    rename("nginx")
    listener = socket.create_server((ADDRESS, PORT), backlog=4)
    pids = {}
    for number in range(2):
        client = fork(partial(connect_and_stay, 1))
        pids[f"worker {number}"] = fork(lambda: hold(listener.accept()[0]))
        pids[f"client {number}"] = client
    fork(partial(connect_and_stay, 5))
    hold(listener)
    return pids | {"nginx": os.getpid()}


def half_closed() -> dict[str, int]:
    """Clients on this host have shut down 1,000 connections, which the server does not close."""
    rename("printd")
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    listener = socket.create_server((ADDRESS, PORT), backlog=1_000)

    client = fork(partial(connect_and_shut_down, 1_000))
    hold(listener, *(listener.accept()[0] for _ in range(1_000)))
    return {"printd": os.getpid(), "client": client}


def keepalive() -> dict[str, int]:
    """A server with keepalive has not closed 5 connections, whose clients shut them down 3 s ago."""
    rename("goserver")
    listener = socket.create_server((ADDRESS, PORT))
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 1)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 1)

    fork(partial(connect_and_shut_down, 5))
    hold(listener, *(listener.accept()[0] for _ in range(5)))
    time.sleep(3.2)
    return {"goserver": os.getpid()}


def keepalive_leak() -> dict[str, int]:
    """A server with keepalive has not closed 119 connections, and the clients are gone.

    The kernel has removed 68 of them. The namespace must have a tcp_fin_timeout of 2 s.
    """
    rename("goserver")
    listener = socket.create_server((ADDRESS, PORT), backlog=128)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 1)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 1)
    accept_closed(listener, 68)
    while f":{PORT:04X} " in "".join(close_wait_rows()):
        time.sleep(0.1)
    accept_closed(listener, 51)
    return {"goserver": os.getpid()}


def accept_closed(listener: socket.socket, count: int) -> None:
    fork(partial(connect_and_close, count))
    connections = [listener.accept()[0] for _ in range(count)]
    for connection in connections:
        connection.recv(1)
    hold(listener, *connections)


def close_wait_rows() -> list[str]:
    rows = Path("/proc/thread-self/net/tcp").read_text().splitlines()[1:]
    return [row for row in rows if row.split()[3] == "08"]


def reset_client() -> dict[str, int]:
    """A client has not closed 30 connections that the server has reset; its limit is 40 descriptors."""
    rename("client")
    resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))
    listener = socket.create_server((ADDRESS, PORT), backlog=128)
    clients = connect(30)

    def reset() -> None:
        rename("server")
        resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))
        for client in clients:
            client.close()
        for _ in range(30):
            connection = listener.accept()[0]
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.close()

    fork(reset)
    listener.close()
    hold(*clients)
    return {"client": os.getpid()}


_held: list[socket.socket] = []


def hold(*sockets: socket.socket) -> None:
    _held.extend(sockets)


if __name__ == "__main__":
    print(json.dumps(globals()[sys.argv[1]]()), flush=True)
    sys.stdin.read()
