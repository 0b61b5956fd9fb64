"""A host that is not there: sockets, their owners and its limits, of which each part can be broken."""

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
from exporter.owners.resolver import LiveSockets
from exporter.portable.psutil_source import to_batches

REST: Final = "rest"
"""What to break so that the sockets fail in the second half."""

HERE: Final = bytes((127, 0, 0, 1))
THERE: Final = bytes((10, 0, 0, 9))
PRINTD: Final = ProcessId(10, 1.0)
CALLER: Final = ProcessId(20, 2.0)
OTHER_CALLER: Final = ProcessId(21, 2.0)
NAMES: Final = {PRINTD: "printd", CALLER: "caller", OTHER_CALLER: "other"}

LISTENER: Final = Listener(HERE, 631, 5, 0, 128)
ACCEPTED: Final = Socket(CLOSE_WAIT, HERE, 631, HERE, 50_000, 6, 1)
WAITING: Final = Socket(ESTABLISHED, HERE, 631, HERE, 50_001, NO_OWNER_KEY, 2)


def call(port: int, state: int = ESTABLISHED, owner_key: int = 20) -> Socket:
    """A connection from that port to port 443 of THERE."""
    return Socket(state, HERE, port, THERE, 443, NO_OWNER_KEY if state == TIME_WAIT else owner_key, port)


class Host:
    """A source of sockets, the owners of these, and all readers beside.

    kernel: whether it knows cookies and gives TIME_WAIT apart, as the kernel, or neither, as psutil.
    crowded: whether TIME_WAIT comes last, as where there are many sockets.
    """

    name = "host"
    unresolved_reason = "not_found"

    def __init__(self, *, kernel: bool = True, crowded: bool = True) -> None:
        self.kernel = kernel
        self.crowded = crowded
        self.rows = [ACCEPTED, WAITING]
        self._rest: list[Socket] = []
        self.listening = [LISTENER]
        self.broken: set[str] = set()
        self.unreadable: Counter[str] = Counter()
        self.owner_keys = {5: PRINTD, 6: PRINTD, 20: CALLER, 21: OTHER_CALLER}
        self.asked_for: list[set[int]] = []
        self.live: set[int] = set()
        self.doubted: set[int] = set()
        self.stale: set[Owner] = set()
        self.kept: Container[object] = ()
        self.dead: set[ProcessId] = set()
        self.details = False
        self.limits = SysctlLimits(max_time_wait_sockets=100, ephemeral=EphemeralRange(40_000, 49_999))
        self.counters = KernelCounters(orphans=3)
        self.descriptors = {10: FdUsage(50, 64), 20: FdUsage(7, None)}
        self.faulty: dict[int, int] = {}
        """pid -> the number of the error that reading its descriptors ends with."""
        self.seconds = count(step=1.0).__next__

    def tracker(self, wanted: frozenset[CollectorName] = frozenset(CollectorName)) -> SocketTracker:
        """One that looks here. Its clock goes on by a second each time it is asked."""
        readers = HostReaders(self._limits, lambda: self.counters, self._descriptors)
        return SocketTracker(self, self, readers, Namer(), wanted, self.seconds)

    def full_sockets(self) -> Iterator[SocketBatch]:
        rows = self.rows if self.kernel else [row._replace(cookie=0) for row in self.rows]
        late = [row for row in rows if self.kernel and self.crowded and row.state == TIME_WAIT]
        given = list(map(self._keyed, to_batches([row for row in rows if row not in late])))
        yield from given[:1]
        self._break(CollectorName.STATES)
        yield from given[1:]
        self._rest = late

    @property
    def pending_states(self) -> frozenset[int]:
        return frozenset({TIME_WAIT} if self._rest else ())

    def minisocks(self) -> Iterator[SocketBatch]:
        yield from map(self._keyed, to_batches(self._rest))
        self._break(REST)

    def _keyed(self, batch: SocketBatch) -> SocketBatch:
        """The kernel's keys are cookies."""
        rows = batch.rows_at(range(len(batch.keys)))
        return replace(batch, keys=rows.cookies()) if self.kernel else batch

    def listeners(self) -> list[Listener]:
        self._break(CollectorName.LISTENERS)
        return self.listening

    def close_wait_sockets(self) -> list[CloseWaitSocket]:
        self._break(CollectorName.CLOSE_WAIT)
        rows = [row for row in self.rows if row.state == CLOSE_WAIT]
        return [CloseWaitSocket(row, 1, 0, 0, 30.0, 40.0, mptcp=False) for row in rows]

    def refresh(self) -> set[Owner]:
        stale, self.stale = self.stale, set()
        return stale

    def revalidate(self, owner_keys: Iterable[int]) -> None:
        self.doubted = set(owner_keys)

    def resolve(self, owner_keys: Collection[int], live: LiveSockets) -> None:
        self._break(CollectorName.OWNERS)
        self.asked_for.append(set(owner_keys))
        self.live = live.all()

    def set_details(self, *, details: bool) -> None:
        self.details = details

    def owner_of(self, owner_key: int) -> Owner:
        nobody = Unowned.NOT_FOUND if owner_key else Unowned.RELEASED
        return self.owner_keys.get(owner_key, nobody) if self.asked_for else nobody

    def process(self, owner: ProcessId) -> Process:
        return Process(owner.pid, owner.start_time, NAMES[owner])

    def is_alive(self, owner: ProcessId) -> bool:
        return owner not in self.dead

    def retain(self, used: Container[object]) -> None:
        self.kept = used

    def _limits(self) -> SysctlLimits:
        self._break(CollectorName.LIMITS)
        return self.limits

    def _descriptors(self, pid: int) -> FdUsage:
        if CollectorName.DESCRIPTORS in self.broken:
            raise RuntimeError("no OSError, so not of this process only")
        if pid in self.faulty:
            raise OSError(self.faulty[pid], "faulty")
        try:
            return self.descriptors[pid]
        except KeyError as gone:
            raise ProcessLookupError(pid) from gone

    def _break(self, part: str) -> None:
        if part in self.broken:
            raise OSError(f"{part} broke")


def groups(seen: Snapshot) -> dict[SocketGroup, int]:
    assert seen.groups is not None
    return dict(seen.groups)
