"""A simulated host: sockets, their owners and its limits, each of which can be made to fail."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Container, Iterable, Iterator
from dataclasses import replace
from itertools import count
from typing import Final

from exporter.collection.interfaces import HostReaders
from exporter.collection.tracker import SocketTracker
from exporter.model.collectors import CollectorName
from exporter.model.groups import SocketGroup
from exporter.model.host import EphemeralRange, FdUsage, KernelCounters, SysctlLimits
from exporter.model.process import Owner, Process, ProcessId, Unowned
from exporter.model.snapshot import Snapshot
from exporter.model.sockets import (
    CLOSE_WAIT,
    ESTABLISHED,
    NO_OWNER_KEY,
    TIME_WAIT,
    CloseWaitSocket,
    Listener,
    Socket,
    SocketBatch,
)
from exporter.naming.rules import Namer
from exporter.owners.dead_fd_finder import DeadFdFinder
from exporter.owners.resolver import LiveOwnerKeys
from exporter.portable.socket_list import to_batches

MINISOCKS: Final = "minisocks"
"""Member of `failing` that makes minisocks() fail."""

HERE: Final = bytes((127, 0, 0, 1))
THERE: Final = bytes((10, 0, 0, 9))
PRINTD: Final = ProcessId(10, 1.0)
CLIENT: Final = ProcessId(20, 2.0)
OTHER_CLIENT: Final = ProcessId(21, 2.0)
NAMES: Final = {PRINTD: "printd", CLIENT: "client", OTHER_CLIENT: "other"}

LISTENER: Final = Listener(HERE, 631, 5, 0, 128)
ACCEPTED: Final = Socket(CLOSE_WAIT, HERE, 631, HERE, 50_000, 6, 1)
WAITING: Final = Socket(ESTABLISHED, HERE, 631, HERE, 50_001, NO_OWNER_KEY, 2)


def outbound(port: int, state: int = ESTABLISHED, owner_key: int = 20) -> Socket:
    """Return a connection from this port to port 443 of THERE."""
    return Socket(state, HERE, port, THERE, 443, NO_OWNER_KEY if state == TIME_WAIT else owner_key, port)


class Host:
    """A source of sockets, an owner resolver and all readers.

    kernel: whether sockets have cookies and minisocks are separate, as from the kernel; neither from psutil.
    crowded: whether TIME_WAIT comes last, as with many sockets.
    """

    name = "host"
    has_bound_sockets = True
    unresolved_reason = "not_found"

    def __init__(self, *, kernel: bool = True, crowded: bool = True) -> None:
        self.kernel = kernel
        self.crowded = crowded
        self.rows = [ACCEPTED, WAITING]
        self._minisocks: list[Socket] = []
        self.listening = [LISTENER]
        self.failing: set[str] = set()
        self.unreadable_processes: Counter[str] = Counter()
        self.owner_keys = {5: PRINTD, 6: PRINTD, 20: CLIENT, 21: OTHER_CLIENT}
        self.resolved: list[set[int]] = []
        self.live: set[int] = set()
        self.revalidated: set[int] = set()
        self.stale: set[Owner] = set()
        self.transferred: dict[int, ProcessId] = {}
        self.retained: Container[object] = ()
        self.dead: set[ProcessId] = set()
        self.details = False
        self.limits = SysctlLimits(max_time_wait_sockets=100, ephemeral=EphemeralRange(40_000, 49_999))
        self.counters = KernelCounters(orphans=3)
        self.descriptors = {10: FdUsage(50, 64), 20: FdUsage(7, None)}
        self.services: dict[ProcessId, tuple[str, ...]] = {}
        self.workers: dict[int, list[int]] = {}
        """pid -> pids of its workers; those of other processes are unreadable."""
        self.fd_errors: dict[int, int] = {}
        """pid -> errno of reading its descriptors."""
        self.seconds = count(step=1.0).__next__

    def tracker(
        self,
        collectors: frozenset[CollectorName] = frozenset(CollectorName),
        dead_fds: DeadFdFinder | None = None,
    ) -> SocketTracker:
        """Return a tracker of this host. Its clock advances by a second at each reading."""
        readers = HostReaders(self._limits, lambda: self.counters, self._descriptors, self._workers)
        return SocketTracker(self, self, readers, Namer(), collectors, self.seconds, dead_fds=dead_fds)

    def full_sockets(self) -> Iterator[SocketBatch]:
        rows = self.rows if self.kernel else [row._replace(cookie=0) for row in self.rows]
        minisocks = [row for row in rows if self.kernel and self.crowded and row.state == TIME_WAIT]
        batches = list(map(self._keyed, to_batches([row for row in rows if row not in minisocks])))
        yield from batches[:1]
        self._fail_if_asked(CollectorName.STATES)
        yield from batches[1:]
        self._minisocks = minisocks

    @property
    def pending_states(self) -> frozenset[int]:
        return frozenset({TIME_WAIT} if self._minisocks else ())

    def minisocks(self) -> Iterator[SocketBatch]:
        yield from map(self._keyed, to_batches(self._minisocks))
        self._fail_if_asked(MINISOCKS)

    def _keyed(self, batch: SocketBatch) -> SocketBatch:
        """Give the batch cookies as keys, if it is from the kernel."""
        rows = batch.select(range(len(batch.keys)))
        return replace(batch, keys=rows.cookies()) if self.kernel else batch

    def listeners(self) -> list[Listener]:
        self._fail_if_asked(CollectorName.LISTENERS)
        return self.listening

    def close_wait_sockets(self) -> list[CloseWaitSocket]:
        self._fail_if_asked(CollectorName.CLOSE_WAIT)
        rows = [row for row in self.rows if row.state == CLOSE_WAIT]
        return [CloseWaitSocket(row, 1, 0, 0, 30.0, 40.0, 40.0, mptcp=False) for row in rows]

    def refresh(self) -> set[Owner]:
        stale, self.stale = self.stale, set()
        return stale

    def revalidate(self, owner_keys: Iterable[int]) -> None:
        self.revalidated = set(owner_keys)

    def resolve(self, owner_keys: Collection[int], live: LiveOwnerKeys) -> None:
        self._fail_if_asked(CollectorName.OWNERS)
        self.resolved.append(set(owner_keys))
        self.live = live.all()

    def set_details(self, *, details: bool) -> None:
        self.details = details

    def owner_of(self, owner_key: int) -> Owner:
        unresolved = Unowned.NOT_FOUND if owner_key else Unowned.RELEASED
        return self.owner_keys.get(owner_key, unresolved) if self.resolved else unresolved

    def process(self, owner: ProcessId) -> Process:
        services = self.services.get(owner, ())
        return Process(owner.pid, owner.start_time, NAMES[owner], services=services)

    def is_alive(self, owner: ProcessId) -> bool:
        return owner not in self.dead

    def retain(self, used: Container[object]) -> None:
        self.retained = used

    def _limits(self) -> SysctlLimits:
        self._fail_if_asked(CollectorName.LIMITS)
        return self.limits

    def _descriptors(self, pid: int) -> FdUsage:
        if CollectorName.DESCRIPTORS in self.failing:
            raise RuntimeError("not an OSError, so not limited to this process")
        if pid in self.fd_errors:
            raise OSError(self.fd_errors[pid], "faulty")
        try:
            return self.descriptors[pid]
        except KeyError as missing:
            raise ProcessLookupError(pid) from missing

    def _workers(self, pid: int) -> list[int]:
        if pid not in self.workers:
            raise ProcessLookupError(pid)
        return self.workers[pid]

    def _fail_if_asked(self, operation: str) -> None:
        if operation in self.failing:
            raise OSError(f"{operation} failed")


def groups(snapshot: Snapshot) -> dict[SocketGroup, int]:
    assert snapshot.groups is not None
    return dict(snapshot.groups)
