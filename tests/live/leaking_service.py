"""A service that leaks: `leaking_service.py NAME CAUSE COUNT PORT [LIMIT]`, run inside a Namespace.

Its clients, in a separate process, have closed COUNT connections to PORT, and the process called NAME has not
closed its sockets. CAUSE: `not_closed` it has read the FIN, `not_read` it has not, `not_accepted` it has not
accepted the connections, `sending` it still sends, to clients that shut down their side and do not read,
`drained` as `not_closed`, and it has closed its listener, `keepalive` as `not_closed`, and it sends keepalive
probes every second: when the kernel has forgotten the clients' sockets (tcp_fin_timeout), they become dead
file descriptors, `unconnected` there are no clients, only COUNT sockets that it never connects.
LIMIT: its limit of file descriptors. It prints `ready` when all exist, and ends when its stdin does.
"""

from __future__ import annotations

import os
import resource
import socket
import sys
from contextlib import suppress
from pathlib import Path

ADDRESS = "127.0.0.1"


def connect_and_close(port: int, count: int) -> None:
    for _ in range(count):
        with socket.create_connection((ADDRESS, port)):
            pass


def connect_and_stop_reading(port: int, count: int) -> None:
    clients = [socket.create_connection((ADDRESS, port)) for _ in range(count)]
    for connected in clients:
        connected.shutdown(socket.SHUT_WR)
    sys.stdin.read()


def send_keepalive_probes(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 1)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 1)


def send_all_that_fits(connection: socket.socket) -> None:
    connection.setblocking(False)
    with suppress(BlockingIOError):
        while True:
            connection.send(bytes(1 << 16))


def main(name: str, cause: str, count: int, port: int, limit: int | None) -> None:
    Path("/proc/self/comm").write_text(name)
    if limit:
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    with socket.create_server((ADDRESS, port), backlog=count) as listener:
        if cause == "unconnected":
            unconnected = [socket.socket() for _ in range(count)]
            print("ready", flush=True)
            sys.stdin.read()
            del unconnected
            return
        client = os.fork()
        if client == 0:
            listener.close()
            (connect_and_stop_reading if cause == "sending" else connect_and_close)(port, count)
            os._exit(0)
        connections = [] if cause == "not_accepted" else [listener.accept()[0] for _ in range(count)]
        for connection in connections:
            if cause == "keepalive":
                send_keepalive_probes(connection)
            # Also waits for the client to close, in every case but the first.
            connection.recv(1, socket.MSG_PEEK if cause == "not_read" else 0)
        if cause == "drained":
            listener.close()
        if cause == "sending":
            for connection in connections:
                send_all_that_fits(connection)
        else:
            os.waitpid(client, 0)
        print("ready", flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    _, name, cause, *numbers = sys.argv
    count, port, *limit = map(int, numbers)
    main(name, cause, count, port, limit[0] if limit else None)
