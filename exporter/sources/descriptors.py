"""One process's open descriptors, remembered so that most need not be read again (proc_pid_fd(5))."""

from __future__ import annotations

import os
from array import array
from collections.abc import Collection, Iterable, Iterator, Sequence, Set
from functools import partial
from heapq import nsmallest
from itertools import compress, count, islice
from operator import not_
from pathlib import Path
from typing import Final

_SOCKET: Final = "socket:["
_NOT_A_SOCKET: Final = 0
# A descriptor's number can be chosen (fcntl F_DUPFD) up to a billion: no table is made much longer than
# there are descriptors.
_ROOM_AT_LEAST: Final = 1024
_ROOM_FOR_EACH: Final = 8
# Of the free numbers so many, the lowest, are looked at for new sockets.
_FREE_AT_MOST: Final = 64
# Descriptors read before anybody looks whether it is enough.
_AT_ONCE: Final = 64
# Of the sockets of a process so many are looked at again: one may be closed in the meantime.
_ASKED_AGAIN: Final = 4


class DescriptorTable:
    """Which inode each descriptor of one process held when it was last read.

    Reading a descriptor costs 1 to 2 us; a process may have 20,000. The kernel hands out the lowest
    free number, so a new socket mostly sits where one was closed: there it is looked for first.
    All that reads raises OSError when the process is gone or may not be looked into.
    """

    def __init__(self, procfs: Path, pid: int) -> None:
        self.pid = pid
        self._process = f"{procfs}/{pid}"
        self._directory = f"{self._process}/fd"
        self._namespace: str | None = None
        self._inodes = array("Q")
        self._room = _ROOM_AT_LEAST
        self._count = -1
        self._free: set[int] = set()

    def __len__(self) -> int:
        return len(self._inodes)

    def is_unchanged(self) -> bool:
        """Whether as many descriptors are open as when all were last read.

        Linux 6.2 tells the number with one stat (commit f1f1f2569901), older ones say 0.
        """
        count = self._count_now()
        return count > 0 and count == self._count

    def is_elsewhere(self, namespace: str | None) -> bool:
        """Whether the process is in another network namespace than this, as far as can be told. It may
        hold sockets of this one all the same, handed on to it: but hardly ever does."""
        if self._namespace is None:
            self._namespace = network_namespace(self._process)
        return None not in (self._namespace, namespace) and self._namespace != namespace

    def held(self) -> set[int]:
        """The inodes of the sockets that were held when last read."""
        return set(self._inodes) - {_NOT_A_SOCKET}

    def vacated(self, closed: Set[int]) -> Iterator[int]:
        """Reads the descriptors that held one of these sockets; yields the inodes found."""
        descriptors = list(compress(count(), map(closed.__contains__, self._inodes))) if closed else []
        # A number that was free when it was read is the first that the next socket gets.
        descriptors += self._free
        return self._read(descriptors) if descriptors else iter(())

    def unknown(self, live: Collection[int]) -> Iterator[int]:
        """Reads all descriptors but those that held a live socket when last read, as vacated()."""
        now_open = self._count_now()
        known = self._inodes
        names = list(map(int, os.listdir(self._directory)))
        self._make_room(names)
        yield from self._read([fd for fd in names if fd >= len(known) or known[fd] not in live])
        self._count = now_open

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

    def still_holds(self, inodes: Collection[int]) -> bool | None:
        """Whether it holds one of these sockets where they were when last read; None where that is not known.
        A few are looked at."""
        where = list(islice(compress(count(), map(inodes.__contains__, self._inodes)), _ASKED_AGAIN))
        return any(inode in inodes for inode in self._read(where)) if where else None

    def _count_now(self) -> int:
        return os.stat(self._directory).st_size

    def _read(self, descriptors: Iterable[int]) -> Iterator[int]:
        directory = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            left = iter(descriptors)
            while some := list(islice(left, _AT_ONCE)):
                targets = _targets(some, directory)
                inodes = list(map(_socket_inode, targets))
                self._remember(some, inodes)
                self._free = self._free.difference(some).union(compress(some, map(not_, targets)))
                if len(self._free) > _FREE_AT_MOST:
                    self._free = set(nsmallest(_FREE_AT_MOST, self._free))
                yield from filter(None, inodes)
        finally:
            os.close(directory)

    def _make_room(self, descriptors: Sequence[int]) -> None:
        self._room = max(_ROOM_AT_LEAST, _ROOM_FOR_EACH * len(descriptors))
        longest = max((fd for fd in descriptors if fd < self._room), default=-1) + 1
        self._inodes.extend([_NOT_A_SOCKET] * (longest - len(self._inodes)))

    def _remember(self, descriptors: Iterable[int], inodes: Iterable[int]) -> None:
        """Makes the table longer, where there is room."""
        known = self._inodes
        for fd, inode in zip(descriptors, inodes, strict=True):
            if fd < len(known):
                known[fd] = inode
            elif fd < self._room:
                known.extend([_NOT_A_SOCKET] * (fd - len(known)))
                known.append(inode)


def network_namespace(process: str) -> str | None:
    """The network namespace of a process, by its directory in /proc; None where it cannot be told."""
    try:
        return os.readlink(f"{process}/ns/net")
    except OSError:
        return None


def _targets(descriptors: Iterable[int], directory: int) -> list[str]:
    """Where these descriptors point to; nowhere, if one is closed meanwhile."""
    targets: list[str] = []
    # extend() keeps what it has when map() raises, and map() goes on behind what made it raise.
    left = map(partial(os.readlink, dir_fd=directory), map(str, descriptors))
    while True:
        try:
            targets.extend(left)
        except FileNotFoundError:
            targets.append("")
        else:
            return targets


def _socket_inode(target: str) -> int:
    return int(target[len(_SOCKET) : -1]) if target.startswith(_SOCKET) else _NOT_A_SOCKET
