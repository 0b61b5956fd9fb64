"""Finds threads that have a descriptor table of their own (unshare(2), CLONE_FILES)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from ..procfs.thread_fds import list_other_threads
from .fd_table import FdTable

# Maximum number of threads that are compared with the main thread of their process in one search: 60 us each.
_MAX_THREADS: Final = 512
_ATTEMPTS: Final = 3


class ThreadTableFinder:
    """Compares the descriptors of threads with those of their process, some threads in each search.

    kcmp(2) would tell for certain whether two threads share a table, but it is a system call for debuggers,
    which the service's filter of system calls need not allow. Compared are the number of open descriptors
    and a sample of them, another one in each search.
    """

    def __init__(self, procfs: Path) -> None:
        self._procfs = procfs
        self._next_pid = 0
        self._searches = 0

    def find(self, tables: Iterable[FdTable], known_tids: Iterable[int]) -> Iterator[FdTable]:
        """Yield a table, which has not been read, for each thread that has descriptors of its own.

        tables: those of processes. known_tids: threads that are not to be compared again.
        """
        self._searches += 1
        known, remaining = set(known_tids), _MAX_THREADS
        for table in sorted(tables, key=lambda table: (table.pid < self._next_pid, table.pid)):
            self._next_pid = table.pid
            if remaining <= 0:
                return
            with suppress(OSError):
                tids = [tid for tid in list_other_threads(self._procfs, table.pid) if tid not in known]
                remaining -= len(tids)
                # Of a process with more threads than that, the newest.
                yield from self._compare(table, tids[-_MAX_THREADS:])
        self._next_pid = 0

    def _compare(self, table: FdTable, tids: Iterable[int]) -> Iterator[FdTable]:
        fds = table.probe_fds(self._searches)
        expected: object = None
        for tid in tids:
            thread = FdTable(self._procfs, table.pid, tid)
            with suppress(OSError):
                # The process may open or close some between the two readings: they are repeated.
                for _ in range(_ATTEMPTS):
                    if thread.probe(fds) == expected:
                        break
                    expected = table.probe(fds)
                else:
                    if thread.probe(fds) != expected:
                        yield thread
