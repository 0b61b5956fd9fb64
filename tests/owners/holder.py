"""A process that opens and closes sockets by the commands on its standard input: `python holder.py`.

Each line is a command, and each result one line of JSON:

- `open`: opens a socket; returns its inode
- `close INODE`: closes it
- `replace INODE`: closes it and opens another at the same descriptor; returns the new inode
- `move INODE NUMBER`: moves it to that descriptor
- `name HEX`: sets the name of the process, as pthread_setname_np() does
- `fork`: a child shares all sockets until this process ends; returns its pid
- `send INODE`, `receive`: passes a socket through the Unix socket that is standard error
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import socket
import sys
from typing import Final

PR_SET_NAME: Final = 15
CHANNEL: Final = 2


class Holder:
    """Its sockets, by inode."""

    def __init__(self) -> None:
        self._descriptors: dict[int, int] = {}
        self._alive, self._lifeline = os.pipe()

    def open(self) -> int:
        return self._keep(socket.socket().detach())

    def close(self, inode: str) -> None:
        os.close(self._descriptors.pop(int(inode)))

    def replace(self, inode: str) -> int:
        number = self._descriptors.pop(int(inode))
        os.close(number)
        new = socket.socket().detach()
        if new != number:
            os.dup2(new, number)
            os.close(new)
        return self._keep(number)

    def move(self, inode: str, number: str) -> None:
        old = self._descriptors[int(inode)]
        self._descriptors[int(inode)] = fcntl.fcntl(old, fcntl.F_DUPFD, int(number))
        os.close(old)

    def name(self, comm: str) -> None:
        ctypes.CDLL(None).prctl(PR_SET_NAME, ctypes.c_char_p(bytes.fromhex(comm)), 0, 0, 0)

    def fork(self) -> int:
        pid = os.fork()
        if pid == 0:
            os.close(self._lifeline)
            os.read(self._alive, 1)
            os._exit(0)
        return pid

    def send(self, inode: str) -> None:
        with socket.socket(fileno=os.dup(CHANNEL)) as channel:
            socket.send_fds(channel, [b"."], [self._descriptors[int(inode)]])

    def receive(self) -> int:
        with socket.socket(fileno=os.dup(CHANNEL)) as channel:
            _, descriptors, _, _ = socket.recv_fds(channel, 1, 1)
        return self._keep(descriptors[0])

    def _keep(self, number: int) -> int:
        inode = os.fstat(number).st_ino
        self._descriptors[inode] = number
        return inode


def main() -> None:
    """Obeys until standard input ends."""
    holder = Holder()
    for line in sys.stdin:
        command, *arguments = line.split()
        print(json.dumps(getattr(holder, command)(*arguments)), flush=True)


if __name__ == "__main__":
    main()
