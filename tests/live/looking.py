"""An exporter's eyes inside a test's own process: the real sources, without the server."""

from __future__ import annotations

import ctypes
import os
import signal
import socket
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

from exporter.collection.interfaces import HostReaders
from exporter.collection.tracker import SocketTracker
from exporter.naming.rules import Namer
from exporter.netlink.source import NetlinkSource
from exporter.owners.fd_scanner import FdScanner
from exporter.owners.inode_resolver import InodeOwnerResolver
from exporter.owners.process_cache import ProcessCache
from exporter.procfs.fd_usage import read_fd_usage
from exporter.procfs.netstat import read_counters
from exporter.procfs.process_reader import ProcfsProcessReader
from exporter.procfs.sysctl import read_sysctls

PROC: Final = Path("/proc")
HOME: Final = "127.0.0.1"

_PR_SET_NAME: Final = 15


def observer() -> SocketTracker:
    """As the command builds it."""
    readers = HostReaders(
        partial(read_sysctls, PROC), partial(read_counters, PROC), partial(read_fd_usage, PROC)
    )
    owners = InodeOwnerResolver(FdScanner(PROC), ProcessCache(ProcfsProcessReader(PROC)))
    return SocketTracker(NetlinkSource(), owners, readers, Namer())


def take_name(name: str) -> None:
    """Gives this process another comm."""
    ctypes.CDLL(None).prctl(_PR_SET_NAME, name.encode(), 0, 0, 0)


def serve(port: int) -> socket.socket:
    """A listener on 127.0.0.1."""
    return socket.create_server((HOME, port), backlog=512)


Pair = tuple[socket.socket, socket.socket]


def connect(server: socket.socket) -> Pair:
    """A connection to the listener: the side that called, and the side that accepted."""
    calling = socket.create_connection(server.getsockname())
    return calling, server.accept()[0]


def close_first(first: socket.socket, second: socket.socket) -> None:
    """Closes so that the first side gets the TIME_WAIT."""
    first.close()
    assert second.recv(1) == b""
    second.close()


def in_another_process(name: str, act: Callable[[], object]) -> int:
    """Forks a process of that name, which acts, keeps what that gave, and waits. Returns its pid."""
    ready, tell = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            take_name(name)
            kept = act()
            os.write(tell, b"!" if kept is not None else b"?")
            signal.pause()
        finally:
            os._exit(1)
    assert os.read(ready, 1) == b"!"
    return pid


def end(pid: int) -> None:
    """Ends a process that in_another_process() made."""
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
