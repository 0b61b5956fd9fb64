"""A print spooler that leaks: `spooler.py COUNT`, run by Windows' Python.

It sends a job to the printer (printer.py) COUNT times and never closes the connections. It prints its pid
when all printers have closed theirs.
"""

from __future__ import annotations

import os
import socket
import sys
import time


def main(count: int) -> None:
    connections = [socket.create_connection(("127.0.0.1", 9100)) for _ in range(count)]
    for connection in connections:
        connection.sendall(b"page")
        while connection.recv(100):
            pass
    print(os.getpid(), flush=True)
    time.sleep(3600)


if __name__ == "__main__":
    main(int(sys.argv[1]))
