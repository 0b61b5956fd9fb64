"""One process of the load: holds connections to itself, and executes commands, one per line.

    open PAIRS CLOSE_WAIT   open connections, and connections with one end closed
    time_wait NEW OLD       end OLD of the oldest sockets in TIME_WAIT, then create NEW
    refresh                 end the sockets in TIME_WAIT that will expire soon
    replace SHARE           close that share of all connections and open as many new ones
    count                   print the number of open file descriptors
    quit                    exit, like the end of the input

Each prints one line with a number when it is done.
"""

from __future__ import annotations

import gc
import math
import os
import resource
import socket
import struct
import sys
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from itertools import cycle
from typing import Any, Final, NamedTuple

PORTS: Final = (80, 443, 1433, 3306, 5432, 6379, 8080, 9092, 11211, 27017)
IPV6_PORT: Final = 7000
IPV6_SHARE: Final = 20
"""One of IPV6_SHARE connections uses IPv6."""

DESCRIPTORS: Final = 20_000

MAX_TIME_WAIT_AGE: Final = 35.0
"""Seconds after which `refresh` ends a socket in TIME_WAIT. The kernel does so after 60, when thousands could
expire during a measurement."""

_RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)

Address = tuple[Any, ...]


class Service(NamedTuple):
    """A port on which the worker listens."""

    listener: socket.socket
    address: Address

    @classmethod
    def on(cls, family: int, host: str, port: int) -> Service:
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen()
        return cls(listener, listener.getsockname())

    def connect(self, origin: Address | None = None) -> Pair:
        """Open a connection, from the address `origin` if given."""
        client = socket.socket(self.listener.family, socket.SOCK_STREAM)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if origin:
            client.bind(origin)
        client.connect(self.address)
        accepted, peer = self.listener.accept()
        return Pair(client, accepted, self, peer)


class Pair(NamedTuple):
    """Both ends of a connection."""

    client: socket.socket
    accepted: socket.socket
    service: Service
    origin: Address

    def close(self, *, client_first: bool) -> None:
        """Close both ends; the first leaves a socket in TIME_WAIT."""
        first, second = (self.client, self.accepted) if client_first else (self.accepted, self.client)
        first.close()
        second.close()

    def abort(self) -> None:
        """Reset the connection, which leaves no socket in TIME_WAIT."""
        self.client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        self.client.close()
        self.accepted.close()


class TimeWaitConnection(NamedTuple):
    """A connection with one end in TIME_WAIT, and the time of its close."""

    service: Service
    origin: Address
    closed: float

    def end(self) -> None:
        """End TIME_WAIT: reopen the same connection, which replaces the socket, and reset it."""
        with suppress(OSError):  # expired, or not yet one second old: the caller counts again
            self.service.connect(self.origin).abort()


class Worker:
    """The connections of one process, to its own address 127.0.NUMBER.1 and to ::1."""

    def __init__(self, number: int) -> None:
        over_ipv4 = [Service.on(socket.AF_INET, f"127.0.{number}.1", port) for port in PORTS]
        over_ipv6 = Service.on(socket.AF_INET6, "::1", IPV6_PORT + number)
        self._services = cycle(over_ipv6 if i == 0 else over_ipv4[i % len(PORTS)] for i in range(IPV6_SHARE))
        self._origin = (f"127.1.{number}.1", 0)
        self._client_first = cycle([True] * IPV6_SHARE + [False] * IPV6_SHARE)
        self._pairs: deque[Pair] = deque()
        self._close_wait: deque[socket.socket] = deque()
        self._time_wait: deque[TimeWaitConnection] = deque()

    def open(self, pairs: int, close_wait: int) -> int:
        self._pairs.extend(self._connect() for _ in range(pairs))
        self._close_wait.extend(self._open_close_wait() for _ in range(close_wait))
        return pairs + close_wait

    def time_wait(self, new: int, old: int) -> int:
        self._end_time_wait(old)
        for _ in range(new):
            self._close(self._connect())
        return new

    def replace(self, share: float) -> int:
        pairs, close_wait = (math.ceil(len(held) * share) for held in (self._pairs, self._close_wait))
        for _ in range(pairs):
            self._close(self._pairs.popleft())
        for _ in range(close_wait):
            self._close_wait.popleft().close()
        return self.open(pairs, close_wait)

    def refresh(self) -> int:
        aged = sum(past.closed < time.monotonic() - MAX_TIME_WAIT_AGE for past in self._time_wait)
        self._end_time_wait(aged)
        return aged

    def count(self) -> int:
        return len(os.listdir("/proc/self/fd"))  # noqa: PTH208  # names alone

    def _connect(self) -> Pair:
        return next(self._services).connect()

    def _open_close_wait(self) -> socket.socket:
        """Return an end in CLOSE_WAIT; over IPv4 alternately the client's and the accepted one.

        One minute after a client has closed, its port is free for other connections, whose SYN would hit the
        socket in CLOSE_WAIT and end it. So these clients use a separate address, which IPv6 loopback lacks.
        """
        service = next(self._services)
        over_ipv4 = service.listener.family == socket.AF_INET
        pair = service.connect(self._origin if over_ipv4 else None)
        client_first = next(self._client_first) and over_ipv4
        (pair.client if client_first else pair.accepted).close()
        return pair.accepted if client_first else pair.client

    def _close(self, pair: Pair) -> None:
        pair.close(client_first=next(self._client_first))
        self._time_wait.append(TimeWaitConnection(pair.service, pair.origin, time.monotonic()))

    def _end_time_wait(self, number: int) -> None:
        for _ in range(min(number, len(self._time_wait))):
            self._time_wait.popleft().end()


def main() -> None:
    """Execute commands until the end of the input."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (DESCRIPTORS, DESCRIPTORS))
    gc.disable()  # there are no reference cycles, and each collection would visit thousands of sockets
    worker = Worker(int(sys.argv[1]))
    commands: dict[str, Callable[..., int]] = {
        "open": lambda pairs, close_wait: worker.open(int(pairs), int(close_wait)),
        "time_wait": lambda new, old: worker.time_wait(int(new), int(old)),
        "refresh": worker.refresh,
        "replace": lambda share: worker.replace(float(share)),
        "count": worker.count,
        "quit": lambda: sys.exit(),
    }
    for line in sys.stdin:
        name, *arguments = line.split()
        print(commands[name](*arguments), flush=True)


if __name__ == "__main__":
    main()
