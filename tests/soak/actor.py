"""One process of the scenarios: `python -m tests.soak.actor NAME`.

It executes the commands of soak.actors, each a line of JSON, and answers each with one. Its sockets are in
groups, which the commands name. It exits with the connection to the test.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import struct
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any, Final, NoReturn

from .held import CLOSE, count_states, state_of

HOST: Final = "127.0.0.1"

CONTROL: Final = "\0soak"
"""Address of the test, an abstract one: it belongs to the network namespace and to no folder."""

_TIMEOUT_SECONDS: Final = 20.0
_BACKLOG: Final = 512
_FDS_PER_MESSAGE: Final = 200
"""Below the kernel's SCM_MAX_FD of 253."""

_UNRELATED: Final = (
    (socket.AF_INET, socket.SOCK_DGRAM),
    (socket.AF_INET6, socket.SOCK_DGRAM),
    (socket.AF_UNIX, socket.SOCK_STREAM),
)

_RESET: Final = struct.pack("ii", 1, 0)
# The orphan in FIN_WAIT2 vanishes after this time instead of 60 s; probes of the peer are then answered by a
# reset.
_FIN_WAIT2_SECONDS: Final = 1


class Actor:
    """The groups of sockets of this process, and the commands."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._groups: defaultdict[str, list[socket.socket]] = defaultdict(list)
        self._observed: set[socket.socket] = set()
        self._unrelated: list[socket.socket] = []
        self._control = socket.socket(socket.AF_UNIX)
        self._mailbox = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._appear()

    def serve(self) -> NoReturn:
        """Execute commands until the test ends."""
        commands: dict[str, Callable[..., Any]] = {
            "listen": self.listen,
            "connect": self.connect,
            "accept": self.accept,
            "create": self.create,
            "close": self.close,
            "fork": self.fork,
            "send": self.send,
            "receive": self.receive,
            "visit": self.visit,
            "open_unrelated": self.open_unrelated,
            "held": self.held,
            "observe": self.observe,
        }
        while line := self._stream.readline():
            name, *arguments = json.loads(line)
            self._answer(commands[name](*arguments))
        os._exit(0)

    def listen(self, group: str, port: int) -> None:
        listener = socket.create_server((HOST, port), backlog=_BACKLOG)
        listener.settimeout(_TIMEOUT_SECONDS)
        self._groups[group].append(listener)

    def connect(self, group: str, port: int, count: int) -> None:
        self._groups[group] += [socket.create_connection((HOST, port)) for _ in range(count)]

    def accept(self, listener: str, group: str, count: int, keepalive_seconds: int = 0) -> None:
        """Accept connections of a listener, the only one of its group. keepalive_seconds: 0 for none."""
        for _ in range(count):
            connection, _ = self._groups[listener][0].accept()
            if keepalive_seconds:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, keepalive_seconds)
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, keepalive_seconds)
            self._groups[group].append(connection)

    def create(self, group: str, count: int) -> None:
        """Create sockets that are never connected."""
        self._groups[group] += [socket.socket() for _ in range(count)]

    def close(self, group: str, how: str = "fin") -> None:
        """Close the sockets of a group: with a FIN, with a FIN and a short FIN_WAIT2, or with a reset."""
        for sock in self._groups.pop(group, []):
            if how == "reset":
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            elif how == "vanish":
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_LINGER2, _FIN_WAIT2_SECONDS)
            self._observed.discard(sock)
            sock.close()

    def fork(self, group: str, name: str) -> None:
        """Hand a group over to a child, which is another actor, and close the copies."""
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel reaps the child
        if os.fork() == 0:
            self._become(name, group)
        self.close(group)

    def send(self, group: str, name: str) -> None:
        """Hand a group over to another actor, which has to receive() it, and close the copies."""
        fds = [sock.fileno() for sock in self._groups[group]]
        self._mailbox.connect(_mailbox_address(name))  # Python 3.11's send_fds() ignores its `address`
        for start in range(0, len(fds), _FDS_PER_MESSAGE):
            socket.send_fds(self._mailbox, [b"sockets"], fds[start : start + _FDS_PER_MESSAGE])
        self.close(group)

    def receive(self, group: str, count: int) -> None:
        received: list[int] = []
        while len(received) < count:
            _, fds, _, _ = socket.recv_fds(self._mailbox, 64, _FDS_PER_MESSAGE)
            received += fds
        self._groups[group] += [socket.socket(fileno=fd) for fd in received]

    def visit(self, port: int, count: int, name: str) -> None:
        """Run short-lived clients with this name, each a process that connects, closes and exits."""
        pids = []
        for _ in range(count):
            pid = os.fork()
            if pid == 0:
                _visit(port, name)
            pids.append(pid)
        failed = [pid for pid in pids if os.waitpid(pid, 0)[1]]
        if failed:
            raise RuntimeError(f"{len(failed)} of {count} clients failed: see their messages above")

    def open_unrelated(self, count: int) -> None:
        """Replace the sockets of other protocols, which are never in a table of TCP sockets."""
        for sock in self._unrelated:
            sock.close()
        self._unrelated = [socket.socket(family, kind) for family, kind in _UNRELATED for _ in range(count)]

    def held(self) -> dict[str, int]:
        """Return the number of TCP sockets by state."""
        return count_states(self._sockets(), self._observed)

    def observe(self) -> dict[str, int]:
        """Return the number of TCP sockets by state, after a scrape: it saw those that are connected now."""
        held = self.held()
        self._observed |= {sock for sock in self._sockets() if state_of(sock) != CLOSE}
        return held

    def _sockets(self) -> Iterator[socket.socket]:
        return chain.from_iterable(self._groups.values())

    def _become(self, name: str, group: str) -> NoReturn:
        """Be a new actor in a child process, which keeps one group, and nothing else of its parent."""
        for other in [*self._groups.keys() - {group}]:
            self.close(other)
        self.open_unrelated(0)
        self._control.close()
        self._stream.close()
        self._mailbox.close()
        self._name = name
        self._control = socket.socket(socket.AF_UNIX)
        self._mailbox = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._appear()
        self.serve()

    def _appear(self) -> None:
        """Take the name, and connect to the test."""
        Path("/proc/self/comm").write_text(self._name)
        self._mailbox.bind(_mailbox_address(self._name))
        self._mailbox.settimeout(_TIMEOUT_SECONDS)
        self._control.connect(CONTROL)
        self._stream = self._control.makefile("r")
        self._answer([self._name, os.getpid()])

    def _answer(self, result: Any) -> None:
        self._control.sendall(json.dumps(result).encode() + b"\n")


def _mailbox_address(name: str) -> str:
    return f"\0{name}"


def _visit(port: int, name: str) -> NoReturn:
    status = 1
    try:
        Path("/proc/self/comm").write_text(name)
        socket.create_connection((HOST, port)).close()
        status = 0
    finally:
        os._exit(status)


if __name__ == "__main__":
    Actor(sys.argv[1]).serve()
