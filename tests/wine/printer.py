"""A printer: answers each job on port 9100 of 127.0.0.1 and closes the connection.

Run by this host's Python; prints `ready`.
"""

from __future__ import annotations

import socket

PORT = 9100


def main() -> None:
    with socket.create_server(("127.0.0.1", PORT), backlog=1024) as listener:
        print("ready", flush=True)
        while True:
            connection, _ = listener.accept()
            with connection:
                connection.recv(100)
                connection.sendall(b"ok")


if __name__ == "__main__":
    main()
