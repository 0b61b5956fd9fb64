"""One process's open descriptors, remembered so that most need not be read again (proc_pid_fd(5))."""

from __future__ import annotations

import os
from array import array
from collections.abc import Collection, Container, Generator, Iterable, Iterator, Sequence
from functools import partial
from heapq import nsmallest
from itertools import compress, count, islice
from operator import not_
from pathlib import Path
from typing import Final

from ..procfs.process import network_namespace

_SOCKET: Final = "socket:["
_NOT_A_SOCKET: Final = 0
# A descriptor's number can be chosen (fcntl F_DUPFD) up to a billion: no table is made much longer than
# there are descriptors.
_ROOM_AT_LEAST: Final = 1024
_ROOM_FOR_EACH: Final = 8
# Of the free numbers so many, the lowest, are looked at for new sockets.
_FREE_AT_MOST: Final = 64
# Where there were no sockets, so many are looked at, and so many behind the last.
_UNHELD_AT_MOST: Final = 128
_OPENED_AT_MOST: Final = 16
# Descriptors read before anybody looks whether it is enough: at first, and at most, after doubling.
_AT_ONCE_FIRST: Final = 64
_AT_ONCE_LAST: Final = 8192
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

    def now_open(self) -> int:
        """How many descriptors are open: since Linux 6.2 (commit f1f1f2569901); older ones always say 0."""
        return os.stat(self._directory).st_size

    def is_unchanged(self) -> bool:
        """Whether as many descriptors are open as when all were last read."""
        count = self.now_open()
        return count > 0 and count == self._count

    def is_elsewhere(self, namespace: str | None) -> bool:
        """Whether the process is in another network namespace than this, as far as can be told. It may
        hold sockets of this one all the same, handed on to it: but hardly ever does."""
        if self._namespace is None:
            self._namespace = network_namespace(self._process)
        return None not in (self._namespace, namespace) and self._namespace != namespace

    def closed(self, live: Container[int]) -> dict[int, int]:
        """The descriptors that held, when last read, sockets that are not among the live ones, and these."""
        return {fd: inode for fd, inode in enumerate(self._inodes) if inode not in live and inode}

    def vacated(self, descriptors: Iterable[int]) -> Iterator[list[int]]:
        """Reads descriptors whose sockets have gone; yields the inodes found, some at a time."""
        # A number that was free when it was read is the first that the next socket gets.
        likely = [*descriptors, *self._free]
        return self._read(likely) if likely else iter(())

    def unheld(self) -> Iterator[list[int]]:
        """Reads the lowest descriptors that held no socket when last read, and behind the last as many as
        have been opened, at least one, as vacated(): new sockets mostly are there; to list all is dear."""
        if not self._inodes:
            return
        end, opened = len(self._inodes), min(self.now_open() - self._count, _OPENED_AT_MOST)
        lowest = islice(compress(count(), map(not_, self._inodes)), _UNHELD_AT_MOST)
        yield from self._read([*lowest, *range(end, end + max(opened, 1))])
        self._shorten()

    def unknown(self, live: Collection[int]) -> Iterator[list[int]]:
        """Reads all descriptors but those that held a live socket when last read, as vacated()."""
        if not self._inodes:
            yield from self.everything()
            return
        now_open = self.now_open()
        known = self._inodes
        names = self._listed()
        yield from self._read([fd for fd in names if fd >= len(known) or known[fd] not in live])
        self._count = now_open

    def everything(self) -> Iterator[list[int]]:
        """Forgets what was known and reads all descriptors, as vacated()."""
        self._inodes, self._free = array("Q"), set()
        now_open = self.now_open()
        self._room = max(_ROOM_AT_LEAST, _ROOM_FOR_EACH * now_open)
        found_all = now_open and (yield from self._numbered(now_open))
        read_so_far = len(self._inodes)
        if self._free or not now_open:
            self._shorten()
        if not found_all:
            yield from self._read([fd for fd in self._listed() if fd >= read_so_far])
        self._count = now_open

    def _numbered(self, number: int) -> Generator[list[int], None, bool]:
        """Reads the lowest descriptors, as vacated(), until so many open ones are found; gives whether they
        are: where there are many gaps, or a wide one, it is faster to list all.

        Mostly there are few: then it takes a third as long again to list all.
        """
        start = gaps = 0
        while start < (end := number + gaps):
            for some in self._read(range(start, end)):
                yield some
                if len(self._free) == _FREE_AT_MOST:
                    return False
            if len(self._free) == gaps + end - start:
                return False
            start, gaps = end, len(self._free)
        return True

    def sockets(self, first: int = 0) -> Iterator[int]:
        """The descriptors from `first` on that held a socket when last read."""
        return compress(range(first, len(self._inodes)), self._inodes[first:])

    def lost(self, descriptors: Sequence[int]) -> list[int]:
        """Reads these descriptors again; gives the inodes that none of them holds any more."""
        before = [self._inodes[fd] for fd in descriptors]
        now = self._read_some(descriptors)
        # What they hold instead has not been told to anybody: that is for vacated() to find.
        changed = [fd for fd, old, new in zip(descriptors, before, now, strict=True) if new and new != old]
        self._remember(changed, [_NOT_A_SOCKET] * len(changed))
        self._look_first_at(self._free.union(changed))
        return list(set(before).difference(now))

    def _listed(self) -> list[int]:
        names = list(map(int, os.listdir(self._directory)))
        self._make_room(names)
        return names

    def still_holds(self, inodes: Collection[int]) -> bool | None:
        """Whether it holds one of these sockets where they were when last read; None where that is not known.
        A few are looked at."""
        where = list(islice(compress(count(), map(inodes.__contains__, self._inodes)), _ASKED_AGAIN))
        return any(inode in inodes for inode in self._read_some(where)) if where else None

    def _read(self, descriptors: Sequence[int]) -> Iterator[list[int]]:
        done, number = 0, _AT_ONCE_FIRST
        while some := descriptors[done : done + number]:
            yield list(filter(None, self._read_some(some)))
            done += number
            number = min(2 * number, _AT_ONCE_LAST)

    def _read_some(self, descriptors: Sequence[int]) -> list[int]:
        directory = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            found = targets(descriptors, directory)
        finally:
            os.close(directory)
        inodes = _inodes(found)
        self._remember(descriptors, inodes)
        self._look_first_at(self._free.difference(descriptors).union(compress(descriptors, map(not_, found))))
        return inodes

    def _look_first_at(self, free: set[int]) -> None:
        self._free = free if len(free) <= _FREE_AT_MOST else set(nsmallest(_FREE_AT_MOST, free))

    def _shorten(self) -> None:
        while self._inodes and self._inodes[-1] == _NOT_A_SOCKET:
            self._inodes.pop()
        self._free = {fd for fd in self._free if fd < len(self._inodes)}

    def _make_room(self, descriptors: Sequence[int]) -> None:
        self._room = max(_ROOM_AT_LEAST, _ROOM_FOR_EACH * len(descriptors))
        longest = max((fd for fd in descriptors if fd < self._room), default=-1) + 1
        self._inodes.extend([_NOT_A_SOCKET] * (longest - len(self._inodes)))

    def _remember(self, descriptors: Sequence[int], inodes: Sequence[int]) -> None:
        """Makes the table longer, where there is room."""
        known = self._inodes
        if isinstance(descriptors, range) and descriptors.start <= len(known):
            known[descriptors.start : descriptors.stop] = array("Q", inodes)
            return
        for fd, inode in zip(descriptors, inodes, strict=True):
            if fd < len(known):
                known[fd] = inode
            elif fd < self._room:
                known.extend([_NOT_A_SOCKET] * (fd - len(known)))
                known.append(inode)


def targets(descriptors: Iterable[int], directory: int) -> list[str]:
    """Where these descriptors point to; nowhere, if one is closed meanwhile.

    directory: the descriptor of /proc/PID/fd. Raises OSError when the process is gone or may not be looked
    into. Nearly all of the 4 us that a link takes are the kernel's. A second thread would not help: at each
    link, either would wait for the other.
    """
    found: list[str] = []
    # extend() keeps what it has when map() raises, and map() goes on behind what made it raise.
    left = map(partial(os.readlink, dir_fd=directory), map(str, descriptors))
    while True:
        try:
            found.extend(left)
        except FileNotFoundError:
            found.append("")
        else:
            return found


def _inodes(targets: Iterable[str]) -> list[int]:
    start, end = len(_SOCKET), -1
    return [int(target[start:end]) if target.startswith(_SOCKET) else _NOT_A_SOCKET for target in targets]
