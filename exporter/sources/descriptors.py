"""One process's open descriptors, remembered so that most need not be read again (proc_pid_fd(5))."""

from __future__ import annotations

import os
from array import array
from collections.abc import Collection, Iterable, Iterator
from itertools import compress
from pathlib import Path
from typing import Final

_SOCKET: Final = "socket:["
_NOT_A_SOCKET: Final = 0
# A descriptor's number can be chosen (fcntl F_DUPFD) up to a billion: no table is made much longer than
# there are descriptors.
_ROOM_AT_LEAST: Final = 1024
_ROOM_FOR_EACH: Final = 8


class DescriptorTable:
    """Which inode each descriptor of one process held when it was last read.

    Reading a descriptor costs 1 to 2 us; a process may have 20,000. The kernel hands out the lowest
    free number, so a new socket mostly sits where one was closed: there it is looked for first.
    All that reads raises OSError when the process is gone or may not be looked into.
    """

    def __init__(self, procfs: Path, pid: int) -> None:
        self.pid = pid
        self._directory = f"{procfs}/{pid}/fd"
        self._inodes = array("Q")
        self._room = _ROOM_AT_LEAST
        self._count = -1

    def __len__(self) -> int:
        return len(self._inodes)

    def is_unchanged(self) -> bool:
        """Whether as many descriptors are open as when all were last read.

        Linux 6.2 tells the number with one stat (commit f1f1f2569901), older ones say 0.
        """
        count = self._count_now()
        return count > 0 and count == self._count

    def vacated(self, live: Collection[int]) -> Iterator[int]:
        """Reads the descriptors whose socket is not live any more; yields the inodes found."""
        return self._read([fd for fd in self.sockets() if self._inodes[fd] not in live])

    def unknown(self, live: Collection[int]) -> Iterator[int]:
        """Reads all descriptors but those that held a live socket when last read, as vacated()."""
        count = self._count_now()
        known = self._inodes
        names = list(map(int, os.listdir(self._directory)))
        self._room = max(_ROOM_AT_LEAST, _ROOM_FOR_EACH * len(names))
        yield from self._read([fd for fd in names if fd >= len(known) or known[fd] not in live])
        self._count = count

    def everything(self) -> Iterator[int]:
        """Forgets what was known and reads all descriptors, as vacated()."""
        self._inodes = array("Q")
        yield from self.unknown(())

    def sockets(self, first: int = 0) -> Iterator[int]:
        """The descriptors from `first` on that held a socket when last read."""
        return compress(range(first, len(self._inodes)), self._inodes[first:])

    def lost(self, descriptors: Collection[int]) -> Iterator[int]:
        """Reads these descriptors again; yields the inodes that none of them holds any more."""
        before = {self._inodes[fd] for fd in descriptors}
        yield from before.difference(self._read(descriptors))

    def _count_now(self) -> int:
        return os.stat(self._directory).st_size

    def _read(self, descriptors: Iterable[int]) -> Iterator[int]:
        directory = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            for fd in descriptors:
                inode = _socket_inode(fd, directory)
                self._remember(fd, inode)
                if inode:
                    yield inode
        finally:
            os.close(directory)

    def _remember(self, fd: int, inode: int) -> None:
        missing = fd + 1 - len(self._inodes)
        if missing > 0:
            if fd >= self._room:
                return
            self._inodes.extend([_NOT_A_SOCKET] * missing)
        self._inodes[fd] = inode


def _socket_inode(fd: int, directory: int) -> int:
    """A descriptor that is closed meanwhile holds no socket. Raises OSError when it may not be read."""
    try:
        target = os.readlink(str(fd), dir_fd=directory)
    except FileNotFoundError:
        return _NOT_A_SOCKET
    return int(target[len(_SOCKET) : -1]) if target.startswith(_SOCKET) else _NOT_A_SOCKET
