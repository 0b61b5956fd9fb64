"""A service: `python -m tests.demo.service NAME PORT keeps|closes`.

It accepts connections and reads to the end. When its client has closed, `closes` makes it close too; `keeps`
makes it leak the connection, until a line on standard input fixes it. It exits with the end of its standard
input.
"""

from __future__ import annotations

import os
import selectors
import socket
import sys
from pathlib import Path

from .ports import HOME


def main(name: str, port: int, keeps: bool) -> None:
    Path("/proc/self/comm").write_text(name)
    kept: list[socket.socket] = []
    with socket.create_server((HOME, port), backlog=512) as listener, selectors.DefaultSelector() as ready:
        ready.register(listener, selectors.EVENT_READ)
        ready.register(sys.stdin, selectors.EVENT_READ)
        print("ready", flush=True)
        while True:
            for key, _ in ready.select():
                if key.fileobj is listener:
                    ready.register(listener.accept()[0], selectors.EVENT_READ)
                elif isinstance(key.fileobj, socket.socket):
                    if _has_ended(key.fileobj):
                        ready.unregister(key.fileobj)
                        kept.append(key.fileobj)
                elif os.read(sys.stdin.fileno(), 512):
                    keeps = False
                else:
                    return
            if not keeps:
                _close(kept)


def _has_ended(connection: socket.socket) -> bool:
    try:
        return connection.recv(4096) == b""
    except ConnectionResetError:
        return True


def _close(connections: list[socket.socket]) -> None:
    for connection in connections:
        connection.close()
    connections.clear()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3] == "keeps")
