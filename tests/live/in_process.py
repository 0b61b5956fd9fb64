"""A tracker with the real sources in a test's own process, and processes and connections to track."""

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
from exporter.owners.dead_fd_finder import DeadFdFinder
from exporter.owners.fd_scanner import FdScanner
from exporter.owners.inode_resolver import InodeOwnerResolver
from exporter.owners.process_cache import ProcessCache
from exporter.procfs.fd_usage import read_fd_usage
from exporter.procfs.netstat import read_counters
from exporter.procfs.process_reader import ProcfsProcessReader
from exporter.procfs.socket_protocol import read_socket_protocol
from exporter.procfs.sysctl import read_sysctls

PROC: Final = Path("/proc")
HOME: Final = "127.0.0.1"

_PR_SET_NAME: Final = 15


def make_tracker(source: NetlinkSource | None = None, *, long_running: bool = True) -> SocketTracker:
    """Return a tracker built as the command builds it. long_running: False for a single collection."""
    source = source or NetlinkSource()
    readers = HostReaders(
        partial(read_sysctls, PROC), partial(read_counters, PROC), partial(read_fd_usage, PROC)
    )
    scanner, processes = FdScanner(PROC), ProcessCache(ProcfsProcessReader(PROC))
    dead_fds = DeadFdFinder(scanner, processes, source, read_socket_protocol, long_running=long_running)
    owners = InodeOwnerResolver(scanner, processes)
    return SocketTracker(source, owners, readers, Namer(), dead_fds=dead_fds)


def set_comm(name: str) -> None:
    """Set the comm of this process."""
    ctypes.CDLL(None).prctl(_PR_SET_NAME, name.encode(), 0, 0, 0)


def serve(port: int) -> socket.socket:
    """Return a listener on 127.0.0.1."""
    return socket.create_server((HOME, port), backlog=512)


Pair = tuple[socket.socket, socket.socket]


def connect(server: socket.socket) -> Pair:
    """Connect to the listener. Return the client's and the accepted socket."""
    client = socket.create_connection(server.getsockname())
    return client, server.accept()[0]


def close_first(first: socket.socket, second: socket.socket) -> None:
    """Close `first` before `second`, so that the first keeps the TIME_WAIT."""
    first.close()
    assert second.recv(1) == b""
    second.close()


def fork_process(name: str, act: Callable[[], object]) -> int:
    """Fork a process with this comm that calls `act`, keeps the result and waits. Return its pid."""
    ready, report = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            set_comm(name)
            result = act()
            os.write(report, b"!" if result is not None else b"?")
            signal.pause()
        finally:
            os._exit(1)
    assert os.read(ready, 1) == b"!"
    return pid


def kill(pid: int) -> None:
    """Kill a process that fork_process() started."""
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
