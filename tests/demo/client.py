"""A TCP client: `python -m tests.demo.client NAME PORT PER_SECOND OPEN COUNT`.

It opens COUNT connections to PORT and keeps the last OPEN of them open. It prints how many it has opened when
it is done, which is earlier if no ephemeral port is left. A line on standard input makes it close its
connections; it exits with the end of its standard input.
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
    """Open one more connection; return False if no port is left."""
    try:
        kept.append(socket.create_connection((HOME, port)))
    except OSError as error:
        if error.errno != errno.EADDRNOTAVAIL:
            raise
        print(error, flush=True)
        return False
    return True


def _reset(connections: deque[socket.socket]) -> None:
    """Reset the connections: without TIME_WAIT their ports are free immediately."""
    for connection in connections:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()
    connections.clear()


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
