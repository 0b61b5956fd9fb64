"""Snapshots of hosts, as a collection returns them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any, Final

from exporter.model.address import parse_address
from exporter.model.close_wait import Cause, ClassifiedCloseWait
from exporter.model.collectors import CollectorName
from exporter.model.dead_fds import DeadFd
from exporter.model.groups import AddressPair, Attribution, Direction, SocketGroup
from exporter.model.host import EphemeralRange, FdUsage, KernelCounters, SysctlLimits
from exporter.model.process import Owner, ProcessId, Unowned
from exporter.model.snapshot import Snapshot
from exporter.model.sockets import (
    CLOSE,
    CLOSE_WAIT,
    ESTABLISHED,
    LISTEN,
    SYN_SENT,
    TIME_WAIT,
    CloseWaitSocket,
    Listener,
    Socket,
)
from exporter.tracking.close_wait_tracker import cause_of

HERE: Final = bytes((10, 0, 0, 1))
THERE: Final = bytes((10, 0, 0, 5))
LOOPBACK: Final = bytes((127, 0, 0, 1))
PRINTD: Final = ProcessId(4711, 1.0)
APP: Final = ProcessId(20, 1.0)
NGINX: Final = ProcessId(30, 1.0)
NGINX_WORKER: Final = ProcessId(31, 1.0)
RANGE: Final = EphemeralRange(32_768, 60_999)

QUIET: Final = Snapshot(
    groups={},
    listeners=[],
    names={PRINTD: "printd", APP: "app"},
    unreadable_processes={},
    unresolved_reason="not_found",
    durations=dict.fromkeys(
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
    close_wait=[],
    queue_bytes={},
    max_bound_ports=0,
    limits=SysctlLimits(131_072, 60.0, 2, RANGE, 131_072, 600_000_000),
    counters=KernelCounters(time_wait=0, orphans=0, memory_bytes=4096, listen_overflows=0),
    fd_usage={PRINTD: FdUsage(40, 1024), APP: FdUsage(40, 1024)},
    source="netlink",
)
"""A host without sockets."""


def make_snapshot(
    *parts: Iterable[ClassifiedCloseWait] | SocketGroup | tuple[SocketGroup, int], **changes: Any
) -> Snapshot:
    """Return QUIET with these sockets: groups, (group, count) pairs, and connections in CLOSE_WAIT."""
    groups: Counter[SocketGroup] = Counter()
    rows: list[ClassifiedCloseWait] = []
    for part in parts:
        if isinstance(part, SocketGroup):
            groups[part] += 1
        elif isinstance(part, tuple):
            groups[part[0]] += part[1]
        else:
            rows += part
    groups.update(row.group for row in rows)
    for socket, owner in changes.get("listeners") or ():
        groups[SocketGroup(LISTEN, owner, Direction.NONE, socket.local_port)] += 1
    return replace(QUIET, **{"groups": groups, "close_wait": rows, **changes})


def close_wait_row(
    group: SocketGroup, cause: Cause, age: float, number: int = 0, silent: float | None = None
) -> ClassifiedCloseWait:
    """Return a connection in CLOSE_WAIT with the queues of its cause.

    silent: seconds since the last data of a connection with keepalive.
    """
    queues: tuple[int | None, int | None] = (0, 0)
    match cause:
        case Cause.NOT_READ:
            queues = (1, 0)
        case Cause.SENDING:
            queues = (0, 9)
        case Cause.UNKNOWN:
            queues = (None, None)
    owner_key = 0 if cause is Cause.NOT_ACCEPTED else 1
    sock = Socket(CLOSE_WAIT, HERE, group.port, THERE, 40_000 + number, owner_key, number + 1)
    seconds = None if cause is Cause.UNKNOWN else age
    timer, data = (0, seconds) if silent is None else (2, silent)
    close_wait_socket = CloseWaitSocket(sock, *queues, timer, seconds, data, seconds, mptcp=False)
    assert cause_of(close_wait_socket, age) is cause, (
        f"needs the queues or the owner key of a socket with the cause {cause}, which cause_of() must return"
    )
    return ClassifiedCloseWait(close_wait_socket, group, cause, age)


def close_wait_rows(
    group: SocketGroup, cause: Cause, age: float, count: int = 1
) -> list[ClassifiedCloseWait]:
    """Return equal connections in CLOSE_WAIT, for tests where only group, cause and age matter."""
    return [close_wait_row(group, cause, age)] * count


def close_wait(
    count: int,
    *,
    age: float = 7800.0,
    cause: Cause = Cause.NOT_CLOSED,
    owner: Owner = PRINTD,
    port: int = 631,
    direction: Direction = Direction.INBOUND,
    silent: float | None = None,
) -> Iterator[ClassifiedCloseWait]:
    """Yield connections in CLOSE_WAIT, of ages up to this one. silent: as for close_wait_row()."""
    path = AddressPair(HERE, THERE, ephemeral=True) if direction is Direction.OUTBOUND else None
    group = SocketGroup(CLOSE_WAIT, owner, direction, port, path)
    for number in range(count):
        yield close_wait_row(group, cause, age * (number + 1) / count, number, silent)


def dead(
    count: int, *, owner: ProcessId = PRINTD, was_connected: bool = True, age: float = 0.0
) -> list[DeadFd]:
    """Return dead file descriptors."""
    return [DeadFd(owner, was_connected, age)] * count


def outbound(
    state: int,
    count: int,
    *,
    owner: Owner = APP,
    address: bytes = THERE,
    port: int = 5432,
    source: bytes = HERE,
) -> tuple[SocketGroup, int]:
    """Return a group of outbound connections from ephemeral ports, and their number."""
    path = AddressPair(source, address, ephemeral=True)
    attribution = Attribution.NONE if state == TIME_WAIT else None
    return SocketGroup(state, owner, Direction.OUTBOUND, port, path, attribution), count


def inbound(state: int, count: int, *, owner: Owner = PRINTD, port: int = 631) -> tuple[SocketGroup, int]:
    """Return a group of inbound connections, and their number."""
    return SocketGroup(state, owner, Direction.INBOUND, port), count


def listener(
    length: int | None, limit: int | None, owner: Owner = PRINTD, port: int = 631
) -> tuple[Listener, Owner]:
    """Return a listener with this accept queue, and its owner."""
    return Listener(bytes(4), port, 1, length, limit), owner


def problem_snapshot() -> Snapshot:
    """Return a host with problems of all three severities, and with blind spots."""
    return make_snapshot(
        close_wait(412),
        close_wait(3, cause=Cause.NOT_READ, owner=APP, port=5432, direction=Direction.OUTBOUND, age=200_000),
        inbound(ESTABLISHED, 17),
        (SocketGroup(ESTABLISHED, Unowned.NOT_FOUND, Direction.INBOUND, 22), 2),
        outbound(ESTABLISHED, 40),
        outbound(TIME_WAIT, 16_000, owner=Unowned.RELEASED),
        outbound(TIME_WAIT, 1_500, owner=APP),
        listeners=[listener(2, 128), listener(201, 200, APP, 8080), listener(0, 128, Unowned.NOT_FOUND, 22)],
        fd_usage={PRINTD: FdUsage(912, 1024), APP: FdUsage(95, 1024)},
        counters=KernelCounters(time_wait=17_500, orphans=3, memory_bytes=9_000_000, listen_overflows=66),
        unreadable_processes={"permission": 4},
        unresolved_reason="unreadable",
    )


DATABASE: Final = AddressPair(HERE, parse_address("10.0.0.9"), ephemeral=True)
FROM_LOW_PORT: Final = DATABASE._replace(ephemeral=False)
BACKEND: Final = AddressPair(parse_address("fd00::1"), parse_address("fd00::8"), ephemeral=True)

BUSY_LISTENERS: Final[list[tuple[Listener, Owner]]] = [
    (Listener(bytes(4), 631, 1, 3, 128), PRINTD),
    (Listener(bytes(4), 80, 2, 0, 511), NGINX),
    (Listener(bytes(16), 80, 3, 7, 511), NGINX_WORKER),
    (Listener(bytes(4), 22, 4, 0, 128), Unowned.NOT_FOUND),
    (Listener(bytes(4), 40_000, 5, 0, 128), PRINTD),
]

BUSY_GROUPS: Final = Counter(
    {
        SocketGroup(ESTABLISHED, PRINTD, Direction.INBOUND, 631): 12,
        SocketGroup(CLOSE_WAIT, PRINTD, Direction.INBOUND, 631): 412,
        SocketGroup(CLOSE_WAIT, NGINX_WORKER, Direction.OUTBOUND, 5432, DATABASE): 3,
        SocketGroup(ESTABLISHED, NGINX, Direction.INBOUND, 80): 30,
        SocketGroup(ESTABLISHED, NGINX_WORKER, Direction.INBOUND, 80): 40,
        SocketGroup(ESTABLISHED, NGINX_WORKER, Direction.OUTBOUND, 5432, DATABASE): 5,
        SocketGroup(ESTABLISHED, NGINX_WORKER, Direction.OUTBOUND, 5432, FROM_LOW_PORT): 1,
        SocketGroup(SYN_SENT, NGINX_WORKER, Direction.OUTBOUND, 8080, BACKEND): 1,
        SocketGroup(TIME_WAIT, NGINX, Direction.INBOUND, 80, None, Attribution.LISTENER): 90,
        SocketGroup(TIME_WAIT, NGINX, Direction.OUTBOUND, 5432, DATABASE, Attribution.OBSERVED): 20,
        SocketGroup(TIME_WAIT, NGINX_WORKER, Direction.OUTBOUND, 8080, BACKEND, Attribution.INFERRED): 7,
        SocketGroup(TIME_WAIT, Unowned.RELEASED, Direction.OUTBOUND, 443, DATABASE, Attribution.NONE): 17,
        SocketGroup(ESTABLISHED, Unowned.NOT_FOUND, Direction.INBOUND, 22): 2,
        SocketGroup(CLOSE, NGINX, Direction.NONE, 40_001): 1,
    }
)
BUSY_GROUPS.update(
    SocketGroup(LISTEN, owner, Direction.NONE, listener.local_port) for listener, owner in BUSY_LISTENERS
)


PRINTD_CLOSE_WAIT: Final = SocketGroup(CLOSE_WAIT, PRINTD, Direction.INBOUND, 631)
NGINX_CLOSE_WAIT: Final = SocketGroup(CLOSE_WAIT, NGINX_WORKER, Direction.OUTBOUND, 5432, DATABASE)

BUSY: Final = Snapshot(
    groups=BUSY_GROUPS,
    listeners=BUSY_LISTENERS,
    names={PRINTD: "printd", NGINX: "nginx", NGINX_WORKER: "nginx"},
    unreadable_processes={"permission": 4},
    unresolved_reason="unreadable",
    durations=QUIET.durations,
    failed=frozenset(),
    close_wait=[
        *close_wait_rows(PRINTD_CLOSE_WAIT, Cause.NOT_ACCEPTED, 5.5, 100),
        *close_wait_rows(PRINTD_CLOSE_WAIT, Cause.NOT_READ, 600.0, 300),
        *close_wait_rows(PRINTD_CLOSE_WAIT, Cause.SENDING, 15_000.0, 12),
        *close_wait_rows(NGINX_CLOSE_WAIT, Cause.NOT_CLOSED, 60.0, 3),
    ],
    queue_bytes={
        PRINTD_CLOSE_WAIT: (4_500, 12_000),
        NGINX_CLOSE_WAIT: (0, 70),
        SocketGroup(ESTABLISHED, NGINX, Direction.INBOUND, 80): (30, 0),
    },
    max_bound_ports=25,
    limits=SysctlLimits(
        max_time_wait_sockets=131_072,
        time_wait_seconds=60.0,
        time_wait_reuse=2,
        ephemeral=EphemeralRange(40_000, 49_999, frozenset({40_500})),
        max_orphans=65_536,
        max_memory_bytes=1 << 30,
    ),
    dead_fds=[
        DeadFd(PRINTD, was_connected=True, age_seconds=4_000.0),
        DeadFd(PRINTD, was_connected=True, age_seconds=300.0),
        DeadFd(PRINTD, was_connected=False, age_seconds=15.25),
        DeadFd(NGINX_WORKER, was_connected=False, age_seconds=0.5),
    ],
    counters=KernelCounters(
        time_wait_started=1_000,
        time_wait_reused=20,
        time_wait_overflows=3,
        listen_overflows=5,
        listen_drops=8,
        syn_queue_drops=4,
        backlog_drops=6,
        connect_failures=9,
        established_resets=10,
        retransmitted_segments=11,
        resets_sent=12,
        aborts={"close": 1, "data": 2, "timeout": 3, "linger": 0, "memory": 0, "failed": 0},
        orphans=7,
        memory_bytes=1 << 20,
    ),
    fd_usage={
        PRINTD: FdUsage(900, 1_024),
        NGINX: FdUsage(20, None),
        NGINX_WORKER: FdUsage(100, 1_000),
    },
    # No system has both file descriptors and handles.
    handle_counts={PRINTD: 3_100, NGINX: 250},
    source="netlink",
)
"""A host with samples for every metric, close to no limit."""
