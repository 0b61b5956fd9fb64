"""A program that calls: `python -m tests.demo.caller NAME PORT PER_SECOND OPEN COUNT`.

It makes COUNT connections to PORT and keeps the last OPEN of them, closing those before. It says how
many it has got when it makes no more, which is sooner where no port is left to connect from. A line on
standard input lets go of all that it keeps, it ends with that.
"""

from __future__ import annotations

import errno
import os
import select
import socket
import struct
import sys
from collections import deque
from itertools import count
from pathlib import Path

from .ports import HOME


def main(name: str, port: int, per_second: int, keep: int, most: int) -> None:
    Path("/proc/self/comm").write_text(name)
    kept: deque[socket.socket] = deque()
    for made in count():
        if made == most or not _call(port, kept):
            break
        if len(kept) > keep:
            kept.popleft().close()
        if select.select([sys.stdin], [], [], 1 / per_second)[0]:
            break
    print(f"made {made} connections", flush=True)
    while os.read(sys.stdin.fileno(), 512):
        _reset(kept)


def _call(port: int, kept: deque[socket.socket]) -> bool:
    """Makes one more connection, if there is a port for it."""
    try:
        kept.append(socket.create_connection((HOME, port)))
    except OSError as error:
        if error.errno != errno.EADDRNOTAVAIL:
            raise
        print(error, flush=True)
        return False
    return True


def _reset(connections: deque[socket.socket]) -> None:
    """Ends them without TIME_WAIT, so that their ports are free at once."""
    for connection in connections:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()
    connections.clear()


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
