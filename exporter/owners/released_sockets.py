"""Detects sockets that a process has released while they still exist: another process holds them now.

A process releases a socket by closing its descriptor after a fork(), or after passing it through a UNIX
socket (SCM_RIGHTS). Nothing reports that. The number of its open descriptors, one stat(2) since Linux 6.2,
falls by more than its closed sockets explain: its descriptors are then read again. Files and UNIX sockets
that it closes look the same, so these reads have a budget.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Container, Generator, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain, islice
from typing import Final, NamedTuple

from .fd_table import FdTable
from .read_budget import ReadBudget

# Maximum number of descriptors that are re-read in one collection because of a fall: 80 ms.
_MAX_READS: Final = 32_768
_CHUNK: Final = 4096
# Part of the budget that is not spent on processes with as many descriptors as expected, or more.
_RESERVED_FOR_FALLS: Final = 16_384
# Number of descriptors, as a share of the resolved sockets, that one collection adds to the budget, and that
# it re-reads in rotation. At 75,000 descriptors a rotation takes 256 collections and 1 ms in each of them.
_SHARE: Final = 1 / 128
_ROTATION_SHARE: Final = 1 / 256
# The same before Linux 6.2, where only the rotation finds released sockets.
_ROTATION_SHARE_WITHOUT_COUNTS: Final = 1 / 64
_MIN_ALLOWANCE: Final = 64
_MIN_ALLOWANCE_WITHOUT_COUNTS: Final = 128
# Maximum number of descriptors that are read in one collection as samples, where a fall may be hidden: 2 ms.
_MAX_SAMPLES: Final = 512
# Share of its sockets that a process has released at least for a fall to be read on credit, and number of
# reads that each released socket refunds: such a read pays for itself if the suspicion was right.
_LARGE_FALL: Final = 1 / 8
_REFUND: Final = 8


class Reread(NamedTuple):
    """Result of reading descriptors of a process again."""

    table: FdTable
    released: set[int]
    """Inodes that no descriptor of the table has any more. They were closed or transferred."""
    found: list[int]
    """Inodes of sockets that have replaced others."""


@dataclass(slots=True)
class _Account:
    """Descriptors of a process, other than the live sockets that it is known to have."""

    open_count: int = 0
    has_changed: bool = False
    """Whether `open_count` or the others differ from those of the previous collection."""
    known_live_count: int | None = None
    """Number of its descriptors of live sockets before the search; None if nothing has been searched for."""
    live_count: int = 0
    others: int = 0
    expected: int | None = None
    """Number of the others when all descriptors of live sockets had been verified; None if not counted yet.
    Grows with the others only when two collections confirm it: new connections are counted later than the
    descriptors."""
    rise: int = 0
    fall: int = 0
    confirmed_fall: int = 0
    """The fall that two collections have found: in one of them it may be connections that were closed after
    the sockets had been read."""
    next_fd: int = 0
    """Descriptor at which an unfinished re-read continues."""

    def may_have_fallen(self, found: int) -> bool:
        """Return whether update() would change anything.

        found: number of sockets that the search has found in the process.
        """
        if self.known_live_count is None:
            return self.has_changed
        others = self.open_count - self.known_live_count - found
        return not others == self.others == self.expected

    def update(self, live_count: int) -> None:
        """Compare the number of open descriptors with that of the live sockets among them."""
        others = self.open_count - live_count
        if self.expected is None:
            self.expected = others
        elif others > self.expected:
            self.expected = max(self.expected, min(others, self.others))
        fall = max(0, self.expected - others)
        self.rise = max(0, others - self.expected)
        self.confirmed_fall = min(fall, self.fall)
        self.fall, self.others, self.live_count = fall, others, live_count
        if not (fall or self.rise):
            self.next_fd = 0

    def is_suspect(self) -> bool:
        """Return whether the process may have released a socket. Files that it has opened may hide a fall."""
        return self.live_count > 0 and (self.fall > 0 or self.rise > 0)

    def is_large_fall(self) -> bool:
        """Return whether the fall is a large share of its sockets."""
        return self.fall > 0 and self.fall >= _LARGE_FALL * self.live_count

    def priority(self) -> tuple[float, float]:
        """Return the shares of its sockets that it may have released; a rise comes after any fall."""
        return self.confirmed_fall / self.live_count, self.fall / self.live_count

    def verify(self, live_count: int, open_count: int) -> None:
        """Accept the present numbers, after all descriptors of live sockets have been read."""
        self.open_count, self.live_count = open_count, live_count
        self.expected = self.others = open_count - live_count
        self.rise = self.fall = self.confirmed_fall = self.next_fd = 0


class ReleasedSocketFinder:
    """Finds released sockets by the number of open descriptors and, more slowly, in rotation."""

    def __init__(self) -> None:
        self._budget = ReadBudget(_MAX_READS)
        self._accounts: dict[FdTable, _Account] = {}
        # (tid, fd) at which the rotation continues.
        self._next = (0, 0)
        self._next_sampled_tid = 0
        self._collections = 0

    def count_open(self, tables: Iterable[FdTable]) -> None:
        """Count the open descriptors of these processes, as soon as possible after the sockets were read."""
        previous, self._accounts = self._accounts, {}
        for table in tables:
            account = previous.get(table) or _Account()
            try:
                open_count = table.count_open()
            except OSError:
                continue
            account.has_changed = open_count != account.open_count or account.others != account.expected
            account.open_count, account.known_live_count = open_count, None
            self._accounts[table] = account

    def count_live(self, closed: Mapping[int, Collection[int]]) -> None:
        """Count the descriptors of live sockets before a search, which adds to them.

        closed: thread id -> descriptors whose sockets are not live.
        """
        for table, account in self._accounts.items():
            account.known_live_count = table.count_sockets() - len(closed.get(table.tid, ()))

    def add(self, tables: Iterable[FdTable], live: set[int]) -> None:
        """Add processes that a search has just found."""
        for table in tables:
            if table not in self._accounts:
                with suppress(OSError):
                    account = _Account()
                    account.verify(table.count_live(live), table.count_open())
                    self._accounts[table] = account

    def find(
        self,
        owned: Collection[int],
        live: Callable[[], set[int]],
        found: Mapping[int, int],
        missing: Iterable[int] = (),
    ) -> Iterator[Reread]:
        """Re-read descriptors within the budget.

        owned: resolved inodes. live: returns the inodes of all sockets.
        found: pid -> number of its sockets that the search has found.
        missing: sockets that it has not found. One may have the descriptor of a socket that was given away.
        """
        self._collections += 1
        tells_counts = any(account.open_count for account in self._accounts.values())
        limit = max(_MIN_ALLOWANCE_WITHOUT_COUNTS, int(len(owned) * _ROTATION_SHARE_WITHOUT_COUNTS))
        if tells_counts:
            self._budget.refill(max(_MIN_ALLOWANCE, int(len(owned) * _SHARE)))
            limit = max(_MIN_ALLOWANCE, int(len(owned) * _ROTATION_SHARE))
            missing = set(missing)
            if found or missing or any(account.has_changed for account in self._accounts.values()):
                yield from self._read_suspects(live(), found, missing)
        yield from self._read_in_rotation(owned, limit)

    def _read_suspects(self, live: set[int], found: Mapping[int, int], missing: set[int]) -> Iterator[Reread]:
        for table, account in self._accounts.items():
            # Counting again takes as long as finding the closed ones: only where something has changed.
            if account.may_have_fallen(found.get(table.pid, 0)):
                account.update(table.count_live(live))
        if missing or any(account.rise for account in self._accounts.values()):
            yield from self._read_samples(live, missing)
        suspects = [entry for entry in self._accounts.items() if entry[1].is_suspect()]
        suspects.sort(key=lambda entry: entry[1].priority(), reverse=True)
        others = [entry for entry in self._accounts.items() if not entry[1].is_suspect()]
        others.sort(key=lambda entry: entry[1].live_count)
        remaining = _MAX_READS
        for table, account in chain(suspects, others):
            if not account.is_suspect() and not missing:
                return
            cost = account.live_count + (0 if account.fall else _RESERVED_FOR_FALLS)
            if remaining <= 0 or not self._budget.affords(cost, on_credit=account.is_large_fall()):
                return  # Even if a later one is cheaper: the budget is saved up for this one.
            remaining -= yield from self._read_sockets(table, account, live, missing, remaining)

    def _read_samples(self, live: set[int], missing: set[int]) -> Iterator[Reread]:
        """Read samples of processes in rotation, and more of those that have lost sockets of their sample.

        A process that opens as many sockets as it gives away has as many descriptors as before.
        """
        remaining = _MAX_SAMPLES
        for table in sorted(
            self._accounts, key=lambda table: (table.tid < self._next_sampled_tid, table.tid)
        ):
            fds = table.sample(live, self._collections)
            self._next_sampled_tid = table.tid
            if len(fds) > remaining:
                return
            remaining -= len(fds)
            with suppress(OSError):  # The process has vanished.
                result = self._read(table, fds, live)
                if result.released:
                    missing.difference_update(result.found)
                    yield result
                    account = self._accounts[table]
                    account.live_count = account.live_count or table.count_live(live)
                    is_large = len(result.released) >= _LARGE_FALL * len(fds)
                    if self._budget.affords(account.live_count, on_credit=is_large):
                        yield from self._read_sockets(table, account, live, missing, _MAX_READS)

    def _read_sockets(
        self, table: FdTable, account: _Account, live: set[int], missing: set[int], limit: int
    ) -> Generator[Reread, None, int]:
        """Re-read the sockets of a process, at most `limit` descriptors. Return their number."""
        done = 0
        with suppress(OSError):  # The process has vanished.
            while done < limit:
                size = min(_CHUNK, limit - done)
                fds = list(islice(table.fds_of(live, account.next_fd), size))
                done += len(fds)
                if fds:
                    result = self._read_suspect(table, account, fds, live)
                    missing.difference_update(result.found)
                    yield result
                if len(fds) < size:
                    account.verify(table.count_live(live), table.count_open())
                    break
        return done

    def _read_suspect(self, table: FdTable, account: _Account, fds: list[int], live: set[int]) -> Reread:
        account.next_fd = fds[-1] + 1
        self._budget.spend(len(fds))
        result = self._read(table, fds, live)
        self._budget.refund(min(len(fds), _REFUND * len(result.released)))
        return result

    def _read_in_rotation(self, owned: Container[int], limit: int) -> Iterator[Reread]:
        next_tid, next_fd = self._next
        tables = sorted(self._accounts, key=lambda table: (table.tid < next_tid, table.tid))
        for table in tables:
            fds = list(islice(table.fds_of(owned, next_fd if table.tid == next_tid else 0), limit))
            if not fds:
                continue
            limit -= len(fds)
            self._next = (table.tid, fds[-1] + 1)
            with suppress(OSError):
                yield self._read(table, fds, owned)
            if limit <= 0:
                return
        self._next = (0, 0)

    def _read(self, table: FdTable, fds: list[int], sockets: Container[int]) -> Reread:
        found = table.reread(fds)
        return Reread(table, table.take_lost(sockets), found)
