"""A service that leaks: `leak.py NAME CAUSE COUNT PORT [LIMIT]`, to be run inside a Namespace.

Its clients, in a process of their own, have closed COUNT connections to PORT, and the process called
NAME has not closed its ends. CAUSE: `not_closed` it has read the end, `not_read` it has not,
`not_accepted` it has not even accepted, `sending` it still sends, to clients that keep their connections
and do not read. LIMIT: how many descriptors it may have. It says `ready` when all stand, and ends with its
stdin.
"""

from __future__ import annotations

import os
import resource
import socket
import sys
from contextlib import suppress
from pathlib import Path

ADDRESS = "127.0.0.1"


def call_and_close(port: int, count: int) -> None:
    for _ in range(count):
        with socket.create_connection((ADDRESS, port)):
            pass


def call_and_stop_reading(port: int, count: int) -> None:
    callers = [socket.create_connection((ADDRESS, port)) for _ in range(count)]
    for caller in callers:
        caller.shutdown(socket.SHUT_WR)
    sys.stdin.read()


def send_all_that_fits(end: socket.socket) -> None:
    end.setblocking(False)
    with suppress(BlockingIOError):
        while True:
            end.send(bytes(1 << 16))


def main(name: str, cause: str, count: int, port: int, limit: int | None) -> None:
    Path("/proc/self/comm").write_text(name)
    if limit:
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    with socket.create_server((ADDRESS, port), backlog=count) as listener:
        client = os.fork()
        if client == 0:
            listener.close()
            (call_and_stop_reading if cause == "sending" else call_and_close)(port, count)
            os._exit(0)
        ends = [] if cause == "not_accepted" else [listener.accept()[0] for _ in range(count)]
        for end in ends:
            # Also waits for the client to close, in every case but the first.
            end.recv(1, socket.MSG_PEEK if cause == "not_read" else 0)
        if cause == "sending":
            for end in ends:
                send_all_that_fits(end)
        else:
            os.waitpid(client, 0)
        print("ready", flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    _, name, cause, *numbers = sys.argv
    count, port, *limit = map(int, numbers)
    main(name, cause, count, port, limit[0] if limit else None)
