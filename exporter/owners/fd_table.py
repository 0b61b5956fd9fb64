"""Table of the file descriptors of one process, most of which need not be read again (proc_pid_fd(5))."""

from __future__ import annotations

import os
import re
from array import array
from collections.abc import Collection, Container, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from heapq import nsmallest
from itertools import chain, compress, count, islice
from operator import not_
from pathlib import Path
from typing import Final

from ..procfs.process_reader import read_network_namespace
from ..procfs.thread_fds import find_thread_with_fds
from .io_uring import read_registered_sockets

_SOCKET_PREFIX: Final = "socket:["
_IO_URING: Final = "anon_inode:[io_uring]"
_NOT_A_SOCKET: Final = 0
# The maximum length of the array depends on the number of open descriptors, since a process can choose
# numbers up to a billion (fcntl F_DUPFD). Higher ones are in a dict.
_MIN_LENGTH: Final = 1024
_LENGTH_PER_FD: Final = 8
# Number of the lowest free descriptors that are kept: new sockets get them.
_MAX_FREE: Final = 64
# Number of the lowest descriptors without a socket that are re-read, and of descriptors after the last known
# one.
_MAX_NON_SOCKETS: Final = 128
_MAX_OPENED: Final = 16
# Number of descriptors in the first chunk; each chunk has twice as many as the one before, up to the maximum.
_FIRST_CHUNK: Final = 64
_MAX_CHUNK: Final = 8192
# Number of sockets that has_open() re-reads: some may have been closed in the meantime.
_SOCKETS_RECHECKED: Final = 4
# Maximum number of descriptors that probe_fds() returns, and how many of them are after the last known one.
_PROBED: Final = 32
_PROBED_AFTER_LAST: Final = 2


class FdTable:
    """Inode of each file descriptor of one process when last read; 0 if it is not a socket.

    Reading a descriptor takes 1 to 2 us, and a process may have 20,000. The kernel assigns the lowest free
    number: a new socket mostly has the descriptor of a closed one, and those are read first.

    Every method that reads raises OSError if the process has vanished or is not readable. The read_...
    methods yield the inodes of sockets, one chunk at a time.
    """

    def __init__(self, procfs: Path, pid: int, tid: int | None = None) -> None:
        """Prepare an empty table.

        tid: thread whose descriptors are read, if not those of the main thread.
        """
        self.pid = pid
        self.tid = tid or pid
        self.was_read = False
        """Whether all descriptors have been read."""
        self.failure: str | None = None
        """Why the process was not readable when it was last tried: a value of the label `reason`."""
        self.load_failure: str | None = None
        """The same for the attributes of the process, without which it is no owner."""
        self.holds_sockets_here = False
        """Whether a process of another network namespace was found to have sockets of this one."""
        self.io_uring_fds: set[int] = set()
        """Descriptors of io_uring instances, which have registered descriptors of their own."""
        self._procfs = procfs
        self._process = f"{procfs}/{pid}"
        self._directory = f"{self._process}/fd" if self.tid == pid else f"{self._process}/task/{tid}/fd"
        self._namespace: str | None = None
        self._inodes = array("Q")
        self._high_inodes: dict[int, int] = {}
        self._socket_count = 0
        # Inodes that were replaced in the table.
        self._lost: set[int] = set()
        self._max_length = _MIN_LENGTH
        self._open_count_at_full_read = -1
        self._free: set[int] = set()

    def __len__(self) -> int:
        return len(self._inodes) + len(self._high_inodes)

    def count_open(self) -> int:
        """Return the number of open descriptors; always 0 before Linux 6.2 (commit f1f1f2569901)."""
        size = os.stat(self._directory).st_size
        if not size and self._open_count_at_full_read > 0 and self.follow_thread():
            size = os.stat(self._directory).st_size
        return size

    def follow_thread(self) -> bool:
        """If the main thread has exited, read the descriptors of another one from now on.

        Return whether this is so.
        """
        tid = find_thread_with_fds(self._procfs, self.pid)
        if tid is None:
            return False
        with suppress(PermissionError):
            if os.listdir(self._directory):
                return False
        self._directory = f"{self._process}/task/{tid}/fd"
        return True

    def is_unchanged(self) -> bool:
        """Return whether the number of open descriptors is the same as at the last full read."""
        now_open = self.count_open()
        return now_open > 0 and now_open == self._open_count_at_full_read

    def mark_changed(self) -> None:
        """Have is_unchanged() return False until the next full read, even if as many are open as before."""
        self._open_count_at_full_read = -1

    def in_other_netns(self, namespace: str | None) -> bool:
        """Return whether the process is known to be in another network namespace.

        It may still have sockets of this namespace that were passed to it, which is rare.
        """
        if self._namespace is None:
            self._namespace = read_network_namespace(self._process)
        return None not in (self._namespace, namespace) and self._namespace != namespace

    def forget_namespace(self) -> None:
        """Read the network namespace again: a process can enter another one (setns(2))."""
        self._namespace = None

    def closed_sockets(self, live: Container[int]) -> dict[int, int]:
        """Return fd -> inode of the descriptors whose sockets, when last read, are not live now."""
        inodes = self._inodes
        # One byte for each descriptor, in C: few are 0.
        zeros = re.finditer(b"\0", bytes(map(live.__contains__, inodes)))
        closed = {fd: inodes[fd] for fd in map(re.Match.start, zeros) if inodes[fd]}
        closed.update(entry for entry in self._high_inodes.items() if entry[1] not in live)
        return closed

    def count_sockets(self) -> int:
        """Return the number of descriptors that were sockets when last read."""
        return self._socket_count

    def count_live(self, live: Container[int]) -> int:
        """Return the number of descriptors whose sockets, when last read, are live now."""
        inodes = self._inodes
        not_sockets = inodes.count(_NOT_A_SOCKET) if _NOT_A_SOCKET in live else 0
        return sum(map(live.__contains__, chain(inodes, self._high_inodes.values()))) - not_sockets

    def read_freed(self, fds: Iterable[int]) -> Iterator[list[int]]:
        """Read these descriptors, whose sockets were closed, and free ones: new sockets get the lowest."""
        likely = [*fds, *self._free]
        return self._read(likely) if likely else iter(())

    def read_non_sockets(self) -> Iterator[list[int]]:
        """Read the lowest descriptors that were not sockets, and those after the last known one.

        New sockets are mostly there, and listing the directory is expensive. After the last one, as many
        descriptors are read as have been opened, at least one.
        """
        if not self._inodes:
            return
        end, opened = len(self._inodes), min(self.count_open() - self._open_count_at_full_read, _MAX_OPENED)
        lowest = islice(compress(count(), map(not_, self._inodes)), _MAX_NON_SOCKETS)
        yield from self._read([*lowest, *range(end, end + max(opened, 1))])
        self._trim()

    def read_unknown(self, live: Collection[int]) -> Iterator[list[int]]:
        """Read all descriptors except those that had a live socket when last read."""
        if not self._inodes:
            yield from self.read_all()
            return
        now_open = self.count_open()
        yield from self._read(self.unknown_fds(live))
        self._open_count_at_full_read = now_open

    def unknown_fds(self, live: Collection[int]) -> list[int]:
        """List the open descriptors. Return those that had no live socket when last read."""
        known, high = self._inodes, self._high_inodes
        fds, end = self._list_fds(), len(known)
        return [
            fd for fd in fds if not (inode := known[fd] if fd < end else high.get(fd)) or inode not in live
        ]

    def read_fds(self, fds: Sequence[int]) -> None:
        """Read some descriptors."""
        self._read_chunk(fds)

    def fd_path(self, fd: int) -> str:
        """Return the path of a descriptor in /proc."""
        return f"{self._directory}/{fd}"

    def known_sockets(self, sockets: Mapping[int, int]) -> dict[int, int]:
        """Return those of these descriptors (fd -> inode) that had the same socket when last read."""
        known, end = self._inodes, len(self._inodes)
        if max(sockets, default=0) < end and list(map(known.__getitem__, sockets)) == list(sockets.values()):
            return dict(sockets)  # a sixth of the time of the comprehension
        return {fd: inode for fd, inode in sockets.items() if self._inode(fd) == inode}

    def read_all(self) -> Iterator[list[int]]:
        """Drop the table and read all descriptors."""
        self._lost.update(filter(None, self._inodes), self._high_inodes.values())
        self._inodes, self._high_inodes, self._free = array("Q"), {}, set()
        self._socket_count = 0
        now_open = self.count_open()
        if not now_open and not self.was_read and self.follow_thread():
            now_open = self.count_open()
        self._max_length = max(_MIN_LENGTH, _LENGTH_PER_FD * now_open)
        found_all = now_open and (yield from self._read_lowest(now_open))
        read_so_far = len(self._inodes)
        if self._free or not now_open:
            self._trim()
        if not found_all:
            yield from self._read([fd for fd in self._list_fds() if fd >= read_so_far])
        self._open_count_at_full_read = now_open
        self.was_read = True

    def _read_lowest(self, count: int) -> Generator[list[int], None, bool]:
        """Read the lowest descriptors until `count` open ones are found; return whether they were.

        With few gaps between them, the usual case, this saves listing the directory, a quarter of the time.
        With many or wide gaps listing is faster, and the method stops.
        """
        start = gaps = 0
        while start < (end := count + gaps):
            for inodes in self._read(range(start, end)):
                yield inodes
                if len(self._free) == _MAX_FREE:
                    return False
            if len(self._free) == gaps + end - start:
                return False
            start, gaps = end, len(self._free)
        return True

    def fds_of(self, sockets: Container[int], min_fd: int = 0) -> Iterator[int]:
        """Return the descriptors, from `min_fd` on, that had one of these sockets when last read."""
        inodes = self._inodes[min_fd:] if min_fd else self._inodes
        fds = compress(range(min_fd, len(self._inodes)), map(sockets.__contains__, inodes))
        high = (fd for fd, inode in sorted(self._high_inodes.items()) if fd >= min_fd and inode in sockets)
        return chain(filter(self._inodes.__getitem__, fds), high)

    def reread(self, fds: Sequence[int]) -> list[int]:
        """Re-read descriptors that were sockets. Return the inodes that have replaced others."""
        old_inodes = [self._inode(fd) for fd in fds]
        new_inodes = self._read_chunk(fds)
        changed = [fd for fd, old, new in zip(fds, old_inodes, new_inodes, strict=True) if new != old]
        # read_freed() reads the first of them again, and yields their sockets in the next search.
        self._set_free(self._free.union(changed))
        return [inode for fd in changed if (inode := self._inode(fd))]

    def take_lost(self, sockets: Container[int]) -> set[int]:
        """Return those of these sockets that were replaced since the last call and have no descriptor now."""
        lost, self._lost = set(filter(sockets.__contains__, self._lost)), set()
        return lost.difference(self._inodes, self._high_inodes.values()) if lost else lost

    def probe_fds(self, offset: int) -> list[int]:
        """Return a sample of the descriptors: all of them if there are few, or every nth from an offset."""
        end = len(self._inodes) + _PROBED_AFTER_LAST
        step = -(-end // _PROBED)
        return list(range(offset % step, end, step))

    def sample(self, sockets: Container[int], offset: int) -> list[int]:
        """Return some of the descriptors that had one of these sockets when last read, as probe_fds()."""
        fds = self.probe_fds(offset)
        return [fd for fd in fds if (inode := self._inode(fd)) and inode in sockets]

    def probe(self, fds: Sequence[int]) -> tuple[int, list[str]]:
        """Return the number of open descriptors and the link targets of these, without storing them."""
        return self.count_open(), self._read_targets(fds)

    def read_io_uring(self) -> list[int]:
        """Return the inodes of the sockets registered with io_uring instances."""
        inodes: list[int] = []
        for fd in sorted(self.io_uring_fds):
            try:
                inodes += read_registered_sockets(f"{self._directory}info/{fd}")
            except FileNotFoundError:
                self.io_uring_fds.discard(fd)
        return inodes

    def contains(self, inodes: Collection[int]) -> set[int]:
        """Return which of these sockets a descriptor had when last read."""
        return set(inodes).intersection(chain(self._inodes, self._high_inodes.values()))

    def has_open(self, inodes: Collection[int]) -> bool | None:
        """Return whether a descriptor that had one of these sockets still has one; None if none had.

        Re-reads a few descriptors.
        """
        fds = list(islice(self.fds_of(inodes), _SOCKETS_RECHECKED))
        return any(inode in inodes for inode in self._read_chunk(fds)) if fds else None

    def _list_fds(self) -> list[int]:
        fds = list(map(int, os.listdir(self._directory)))
        self._resize(fds)
        return fds

    def _read(self, fds: Sequence[int]) -> Iterator[list[int]]:
        done, size = 0, _FIRST_CHUNK
        while chunk := fds[done : done + size]:
            yield list(filter(None, self._read_chunk(chunk)))
            done += size
            size = min(2 * size, _MAX_CHUNK)

    def _read_chunk(self, fds: Sequence[int]) -> list[int]:
        targets = self._read_targets(fds)
        inodes = _parse_inodes(targets)
        self._store(fds, inodes)
        if _IO_URING in targets:
            self.io_uring_fds.update(
                fd for fd, target in zip(fds, targets, strict=True) if target == _IO_URING
            )
        self._set_free(self._free.difference(fds).union(compress(fds, map(not_, targets))))
        return inodes

    def _read_targets(self, fds: Sequence[int]) -> list[str]:
        directory = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            return read_links(fds, directory)
        finally:
            os.close(directory)

    def _inode(self, fd: int) -> int:
        return self._inodes[fd] if fd < len(self._inodes) else self._high_inodes.get(fd, _NOT_A_SOCKET)

    def _set_free(self, free: set[int]) -> None:
        self._free = free if len(free) <= _MAX_FREE else set(nsmallest(_MAX_FREE, free))

    def _trim(self) -> None:
        """Remove trailing entries that are not sockets."""
        while self._inodes and self._inodes[-1] == _NOT_A_SOCKET:
            self._inodes.pop()
        self._free = {fd for fd in self._free if fd < len(self._inodes)}

    def _resize(self, fds: Sequence[int]) -> None:
        self._max_length = max(_MIN_LENGTH, _LENGTH_PER_FD * len(fds))
        length = max((fd for fd in fds if fd < self._max_length), default=-1) + 1
        self._extend(length)

    def _store(self, fds: Sequence[int], inodes: Sequence[int]) -> None:
        """Store inodes, extending the array up to its maximum length."""
        known = self._inodes
        if isinstance(fds, range) and fds.start <= len(known):
            self._note_replaced(known[fds.start : fds.stop], inodes)
            known[fds.start : fds.stop] = array("Q", inodes)
            return
        old_inodes = [known[fd] for fd in fds if fd < len(known)]
        if self._high_inodes:
            old_inodes += [self._high_inodes[fd] for fd in fds if fd in self._high_inodes]
        self._note_replaced(old_inodes, inodes)
        for fd, inode in zip(fds, inodes, strict=True):
            if fd < len(known):
                known[fd] = inode
            elif fd < self._max_length:
                self._extend(fd + 1)
                known[fd] = inode
            elif inode:
                self._high_inodes[fd] = inode
            else:
                self._high_inodes.pop(fd, None)

    def _note_replaced(self, old_inodes: Sequence[int], new_inodes: Sequence[int]) -> None:
        self._lost.update(set(filter(None, old_inodes)).difference(new_inodes))
        self._socket_count += old_inodes.count(_NOT_A_SOCKET) - new_inodes.count(_NOT_A_SOCKET)
        self._socket_count += len(new_inodes) - len(old_inodes)

    def _extend(self, length: int) -> None:
        """Extend the array to this length."""
        known, high = self._inodes, self._high_inodes
        known.extend([_NOT_A_SOCKET] * (length - len(known)))
        for fd in [fd for fd in high if fd < length]:
            known[fd] = high.pop(fd)


def read_links(fds: Iterable[int], directory: int) -> list[str]:
    """Return the link target of each descriptor, an empty string for closed ones.

    A link takes 4 us, nearly all of it in the kernel. A second thread would not help, since both would wait
    for the GIL at each link.

    directory: file descriptor of /proc/PID/fd.

    Raises OSError if the process has vanished or is not readable.
    """
    targets: list[str] = []
    # When map() raises, extend() keeps the items so far, and map() can continue with the next link.
    remaining = map(partial(os.readlink, dir_fd=directory), map(str, fds))
    while True:
        try:
            targets.extend(remaining)
        except FileNotFoundError:
            targets.append("")
        else:
            return targets


def _parse_inodes(targets: Iterable[str]) -> list[int]:
    start, end = len(_SOCKET_PREFIX), -1
    return [
        int(target[start:end]) if target.startswith(_SOCKET_PREFIX) else _NOT_A_SOCKET for target in targets
    ]
