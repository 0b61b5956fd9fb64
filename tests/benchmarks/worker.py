"""One process of the load: holds connections to itself, and obeys commands that come line by line.

    open PAIRS CLOSE_WAIT   that many connections with both ends held, and that many with one end closed
    time_wait NEW OLD       make so many sockets in TIME_WAIT, after ending so many of the oldest
    refresh                 end the sockets in TIME_WAIT that the kernel would soon end itself
    replace SHARE           close that share of everything held and open as much anew
    count                   the descriptors this process has open
    quit                    as the end of the input does

Each is answered by one line when it is done: a number.
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
"""One connection in so many goes over IPv6."""

DESCRIPTORS: Final = 20_000

AGE: Final = 35.0
"""Seconds after which `refresh` ends a socket in TIME_WAIT. The kernel does it after 60, and so thousands
could vanish in the middle of a measurement."""

_RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)

Address = tuple[Any, ...]


class Service(NamedTuple):
    """A port that the worker listens on."""

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
        """A new connection, from `origin` if that is given."""
        caller = socket.socket(self.listener.family, socket.SOCK_STREAM)
        caller.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if origin:
            caller.bind(origin)
        caller.connect(self.address)
        accepted, peer = self.listener.accept()
        return Pair(caller, accepted, self, peer)


class Pair(NamedTuple):
    """Both ends of a connection."""

    caller: socket.socket
    accepted: socket.socket
    service: Service
    origin: Address

    def close(self, *, caller_first: bool) -> None:
        """End it in order; whoever is first leaves a socket in TIME_WAIT."""
        first, second = (self.caller, self.accepted) if caller_first else (self.accepted, self.caller)
        first.close()
        second.close()

    def abort(self) -> None:
        """End it without a trace."""
        self.caller.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        self.caller.close()
        self.accepted.close()


class Past(NamedTuple):
    """A connection of which one end is in TIME_WAIT, and since when."""

    service: Service
    origin: Address
    closed: float

    def end(self) -> None:
        """Out of TIME_WAIT: the same connection again, which takes the socket's place, and then a reset."""
        with suppress(OSError):  # gone already, or not yet a second old: the count of the kernel will tell
            self.service.connect(self.origin).abort()


class Worker:
    """The connections of one process, all of them to its own address 127.0.NUMBER.1 and to ::1."""

    def __init__(self, number: int) -> None:
        over_ipv4 = [Service.on(socket.AF_INET, f"127.0.{number}.1", port) for port in PORTS]
        over_ipv6 = Service.on(socket.AF_INET6, "::1", IPV6_PORT + number)
        self._services = cycle(over_ipv6 if i == 0 else over_ipv4[i % len(PORTS)] for i in range(IPV6_SHARE))
        self._origin = (f"127.1.{number}.1", 0)
        self._caller_first = cycle([True] * IPV6_SHARE + [False] * IPV6_SHARE)
        self._pairs: deque[Pair] = deque()
        self._close_wait: deque[socket.socket] = deque()
        self._past: deque[Past] = deque()

    def open(self, pairs: int, close_wait: int) -> int:
        self._pairs.extend(self._connect() for _ in range(pairs))
        self._close_wait.extend(self._half_closed() for _ in range(close_wait))
        return pairs + close_wait

    def time_wait(self, new: int, old: int) -> int:
        self._end_past(old)
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
        aged = sum(past.closed < time.monotonic() - AGE for past in self._past)
        self._end_past(aged)
        return aged

    def count(self) -> int:
        return len(os.listdir("/proc/self/fd"))  # noqa: PTH208  # names alone

    def _connect(self) -> Pair:
        return next(self._services).connect()

    def _half_closed(self) -> socket.socket:
        """An end in CLOSE_WAIT, over IPv4 of a caller and of who accepted in turns.

        After a minute the port of a caller that closed is free for others, whose SYN would find the socket in
        CLOSE_WAIT and end it. So it has an address of its own, which over IPv6 there is none of.
        """
        service = next(self._services)
        over_ipv4 = service.listener.family == socket.AF_INET
        pair = service.connect(self._origin if over_ipv4 else None)
        caller_first = next(self._caller_first) and over_ipv4
        (pair.caller if caller_first else pair.accepted).close()
        return pair.accepted if caller_first else pair.caller

    def _close(self, pair: Pair) -> None:
        pair.close(caller_first=next(self._caller_first))
        self._past.append(Past(pair.service, pair.origin, time.monotonic()))

    def _end_past(self, number: int) -> None:
        for _ in range(min(number, len(self._past))):
            self._past.popleft().end()


def main() -> None:
    """Obeys until the input ends."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (DESCRIPTORS, DESCRIPTORS))
    gc.disable()  # nothing here goes in circles, and thousands of sockets would be looked at again and again
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
