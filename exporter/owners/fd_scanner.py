"""Looks for inodes among the descriptors of all processes, in the likeliest places first.

The walk is the dearest part of every peer: 185 ms for 75,000 descriptors. Here it starts where
sockets have just gone, goes on where the number of descriptors changed, and looks into the rest
only within a share of the time.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection, Container, Iterable, Iterator, Mapping, Set
from functools import partial
from itertools import chain, islice
from pathlib import Path
from types import MappingProxyType
from typing import Final

from ..model.sockets import NO_OWNER_KEY
from ..procfs.process import list_pids, network_namespace
from .fd_table import DescriptorTable
from .resolver import reason_of

Found = Iterator[tuple[list[int], int]]
"""(inodes, pid): some of the sockets that a process holds."""

Closed = Mapping[int, Collection[int]]
"""By pid, the descriptors of sockets that are closed."""

# Looking where nothing seems to have changed may take this part of the time at most.
_THOROUGH_SHARE: Final = 0.005

# Descriptors read again at once, for sockets that were closed, or handed on to a forked child.
_VERIFIED_AT_ONCE: Final = 32


class Walk:
    """The descriptor tables of all processes that can be read."""

    def __init__(self, procfs: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._procfs = procfs
        self._clock = clock
        # The sockets of containers are none of those that are looked for, but all of theirs would be read.
        self._namespace = network_namespace(f"{procfs}/self")
        self._tables: dict[int, DescriptorTable] = {}
        # Those of whom nothing was known before: all their descriptors have been read a moment ago.
        self._just_read: set[int] = set()
        self._thorough_again_at = 0.0
        self._verified_up_to = (0, 0)
        self.unreadable: Counter[str] = Counter()
        """Processes that could not be looked into when all were last walked, by reason."""
        self.hidden = False
        """Whether other users' processes cannot even be seen (/proc mounted with hidepid)."""

    def find(
        self, wanted: Collection[int], live: Callable[[], set[int]], closed: Closed = MappingProxyType({})
    ) -> Found:
        """Yields the sockets met until every wanted inode is found or all places are searched.

        live: gives the inodes of all sockets there are. closed: where there were others lately. A process met
        again is yielded again. The lowest pid comes first, init last. Raises OSError where there is no
        /proc.
        """
        missing = set(wanted)
        for inodes, pid in chain(self._where_sockets_went(closed), self._elsewhere(live, missing)):
            missing.difference_update(inodes)
            yield inodes, pid
            if not missing:
                return

    def closed(self, live: Container[int]) -> dict[int, dict[int, int]]:
        """By pid, the descriptors that held, when last read, sockets that are not among the live ones, and
        these."""
        return {pid: closed for pid, table in self._tables.items() if (closed := table.closed(live))}

    def still_holds(self, pid: int, inodes: Collection[int]) -> bool | None:
        """Whether the process that has this pid now holds one of the sockets that were met there; None where
        it is not remembered at which descriptors."""
        table = self._tables.get(pid)
        try:
            return table.still_holds(inodes) if table else False
        except OSError:
            return False

    def forget(self, pid: int) -> None:
        """Who has this pid is, or will be, another process than before."""
        self._tables.pop(pid, None)

    def let_go(self) -> Found:
        """Reads some descriptors again, in turn; yields the sockets that their process let go."""
        left = _VERIFIED_AT_ONCE
        pid, first = self._verified_up_to
        for table in sorted(self._tables.values(), key=lambda table: (table.pid < pid, table.pid)):
            chosen = list(islice(table.sockets(first if table.pid == pid else 0), left))
            if not chosen:
                continue
            yield from self._guarded(table, (table.lost(descriptors) for descriptors in [chosen]))
            self._verified_up_to = (table.pid, chosen[-1] + 1)
            left -= len(chosen)
            if not left:
                return
        self._verified_up_to = (0, 0)

    def _where_sockets_went(self, closed: Closed) -> Found:
        for table in self._here():
            yield from self._guarded(table, table.vacated(closed.get(table.pid, ())))

    def _elsewhere(self, live: Callable[[], set[int]], missing: Set[int]) -> Found:
        settled = live().difference(missing, {NO_OWNER_KEY})
        for search in (self._where_others_went, self._where_counts_changed, self._everywhere):
            yield from search(settled)

    def _where_others_went(self, live: Set[int]) -> Found:
        """Where there were sockets that nobody was found to own, or no TCP sockets."""
        for table in self._here():
            yield from self._guarded(table, table.vacated(table.closed(live)))

    def _where_counts_changed(self, live: Set[int]) -> Found:
        self.unreadable = Counter()
        pids = list_pids(self._procfs)
        self.hidden = 1 not in pids
        self._tables = {pid: self._tables.get(pid) or DescriptorTable(self._procfs, pid) for pid in pids}
        here = self._here()
        self._just_read = {table.pid for table in here if not len(table)}
        for table in here:
            yield from self._guarded(table, _unless_unchanged(table, table.unheld))
        for table in here:
            yield from self._guarded(table, _unless_unchanged(table, partial(table.unknown, live)))

    def _everywhere(self, live: Set[int]) -> Found:
        started = self._clock()
        if started < self._thorough_again_at:
            return
        tables = [table for table in self._tables.values() if table.pid not in self._just_read]
        try:
            for table in tables:
                yield from self._guarded(table, table.unheld())
            for table in tables:
                yield from self._guarded(table, table.unknown(live))
            for table in tables:
                yield from self._guarded(table, table.everything())
        finally:
            finished = self._clock()
            self._thorough_again_at = finished + (finished - started) / _THOROUGH_SHARE

    def _here(self) -> list[DescriptorTable]:
        return [table for table in self._tables.values() if not table.is_elsewhere(self._namespace)]

    def _guarded(self, table: DescriptorTable, inodes: Iterable[list[int]]) -> Found:
        """A process that vanishes or refuses is counted, once, and the walk goes on."""
        if table.pid not in self._tables:
            return
        try:
            for some in inodes:
                yield some, table.pid
        except OSError as failure:
            self._tables.pop(table.pid, None)
            self.unreadable[reason_of(failure)] += 1


def _unless_unchanged(table: DescriptorTable, read: Callable[[], Iterator[list[int]]]) -> Iterator[list[int]]:
    if not table.is_unchanged():
        yield from read()
