"""Observations to make findings from, as one look at a host would give them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any, Final

from exporter.model.close_wait import Cause, ClassifiedCloseWait
from exporter.model.collectors import CollectorName
from exporter.model.groups import AddressPair, Attribution, Direction, SocketGroup
from exporter.model.host import EphemeralRange, FdUsage, KernelCounters, SysctlLimits
from exporter.model.process import Owner, ProcessId, Unowned
from exporter.model.snapshot import Snapshot
from exporter.model.sockets import CLOSE_WAIT as IN_CLOSE_WAIT
from exporter.model.sockets import ESTABLISHED, LISTEN, TIME_WAIT, CloseWaitSocket, Listener, Socket
from exporter.tracking.close_wait import cause_of

HERE: Final = bytes((10, 0, 0, 1))
THERE: Final = bytes((10, 0, 0, 5))
LOOPBACK: Final = bytes((127, 0, 0, 1))
PRINTD: Final = ProcessId(4711, 1.0)
APP: Final = ProcessId(20, 1.0)
RANGE: Final = EphemeralRange(32_768, 60_999)

QUIET: Final = Snapshot(
    groups={},
    listeners=[],
    names={PRINTD: "printd", APP: "app"},
    unreadable={},
    not_found_because="not_found",
    seconds=dict.fromkeys(
        (
            CollectorName.STATES,
            CollectorName.LISTENERS,
            CollectorName.OWNERS,
            CollectorName.CLOSE_WAIT,
            CollectorName.EPHEMERAL,
            CollectorName.DESCRIPTORS,
            CollectorName.LIMITS,
        ),
        0.001,
    ),
    failed=frozenset(),
    stuck=[],
    queues={},
    ports_on_one_address=0,
    limits=SysctlLimits(131_072, 60.0, 2, RANGE, 131_072, 600_000_000),
    counters=KernelCounters(time_wait=0, orphans=0, memory_bytes=4096, listen_overflows=0),
    descriptors={PRINTD: FdUsage(40, 1024), APP: FdUsage(40, 1024)},
    source="netlink",
)
"""A host on which nothing goes on."""


def look(
    *parts: Iterable[ClassifiedCloseWait] | SocketGroup | tuple[SocketGroup, int], **changes: Any
) -> Snapshot:
    """A look at a host that is quiet but for these: groups, numbers of them, and stuck connections."""
    groups: Counter[SocketGroup] = Counter()
    stuck: list[ClassifiedCloseWait] = []
    for part in parts:
        if isinstance(part, SocketGroup):
            groups[part] += 1
        elif isinstance(part, tuple):
            groups[part[0]] += part[1]
        else:
            some = list(part)
            stuck += some
            groups.update(each.group for each in some)
    for listener, owner in changes.get("listeners") or ():
        groups[SocketGroup(LISTEN, owner, Direction.NONE, listener.local_port)] += 1
    return replace(QUIET, **{"groups": groups, "stuck": stuck, **changes})


def stuck(
    count: int,
    *,
    age: float = 7800.0,
    cause_is: Cause = Cause.NOT_CLOSED,
    owner: Owner = PRINTD,
    port: int = 631,
    outbound: bool = False,
) -> Iterator[ClassifiedCloseWait]:
    """Connections in CLOSE_WAIT, the oldest of this age."""
    queues = {Cause.NOT_READ: (1, 0), Cause.SENDING: (0, 9), Cause.UNKNOWN: (None, None)}.get(
        cause_is, (0, 0)
    )
    path = AddressPair(HERE, THERE, ephemeral=True) if outbound else None
    direction = Direction.OUTBOUND if outbound else Direction.INBOUND
    known = cause_is is not Cause.UNKNOWN
    for number in range(count):
        owner_key = 0 if cause_is is Cause.NOT_ACCEPTED else 1
        one = Socket(IN_CLOSE_WAIT, HERE, port, THERE, 40_000 + number, owner_key, number + 1)
        half = CloseWaitSocket(one, *queues, 0, age if known else None, age if known else None, mptcp=False)
        assert cause_of(half) is cause_is
        yield ClassifiedCloseWait(
            half,
            SocketGroup(IN_CLOSE_WAIT, owner, direction, port, path),
            cause_of(half),
            age * (number + 1) / count,
        )


def calls(
    state: int,
    count: int,
    *,
    owner: Owner = APP,
    address: bytes = THERE,
    port: int = 5432,
    source: bytes = HERE,
) -> tuple[SocketGroup, int]:
    """Outbound connections from ephemeral ports."""
    path = AddressPair(source, address, ephemeral=True)
    attribution = Attribution.NONE if state == TIME_WAIT else None
    return SocketGroup(state, owner, Direction.OUTBOUND, port, path, attribution), count


def serves(state: int, count: int, *, owner: Owner = PRINTD, port: int = 631) -> tuple[SocketGroup, int]:
    """Inbound connections."""
    return SocketGroup(state, owner, Direction.INBOUND, port), count


def listens(
    length: int | None, limit: int | None, owner: Owner = PRINTD, port: int = 631
) -> tuple[Listener, Owner]:
    """A listener and its accept queue."""
    return Listener(bytes(4), port, 1, length, limit), owner


def troubled() -> Snapshot:
    """A host with several things to worry about, of all three severities, and with blind spots."""
    return look(
        stuck(412),
        stuck(3, cause_is=Cause.NOT_READ, owner=APP, port=5432, outbound=True, age=200_000),
        serves(ESTABLISHED, 17),
        (SocketGroup(ESTABLISHED, Unowned.NOT_FOUND, Direction.INBOUND, 22), 2),
        calls(ESTABLISHED, 40),
        calls(TIME_WAIT, 16_000, owner=Unowned.RELEASED),
        calls(TIME_WAIT, 1_500, owner=APP),
        listeners=[listens(2, 128), listens(200, 200, APP, 8080), listens(0, 128, Unowned.NOT_FOUND, 22)],
        descriptors={PRINTD: FdUsage(912, 1024), APP: FdUsage(95, 1024)},
        counters=KernelCounters(time_wait=17_500, orphans=3, memory_bytes=9_000_000, listen_overflows=66),
        unreadable={"permission": 4},
        not_found_because="unreadable",
    )
