"""A snapshot of a host that has something of everything, and the metric families built from it."""

from __future__ import annotations

from collections import Counter
from socket import AF_INET6, inet_aton, inet_pton
from typing import Final

from prometheus_client.core import Metric

from exporter.metrics import catalog
from exporter.metrics.cardinality import SeriesLimits
from exporter.metrics.collector import SocketCollector
from exporter.model.close_wait import Cause, ClassifiedCloseWait
from exporter.model.collectors import CollectorName
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

READ: Final = (
    CollectorName.STATES,
    CollectorName.LISTENERS,
    CollectorName.OWNERS,
    CollectorName.CLOSE_WAIT,
    CollectorName.EPHEMERAL,
    CollectorName.DESCRIPTORS,
    CollectorName.LIMITS,
)
"""Collectors that read or count something."""

PRINTD: Final = ProcessId(10, 1.0)
NGINX: Final = ProcessId(20, 1.0)
NGINX_WORKER: Final = ProcessId(21, 1.0)

HERE: Final = inet_aton("10.0.0.1")
DATABASE: Final = AddressPair(HERE, inet_aton("10.0.0.9"), ephemeral=True)
FROM_BELOW: Final = DATABASE._replace(ephemeral=False)
BACKEND: Final = AddressPair(inet_pton(AF_INET6, "fd00::1"), inet_pton(AF_INET6, "fd00::8"), ephemeral=True)

LISTENING: Final[list[tuple[Listener, Owner]]] = [
    (Listener(bytes(4), 631, 1, 3, 128), PRINTD),
    (Listener(bytes(4), 80, 2, 0, 511), NGINX),
    (Listener(bytes(16), 80, 3, 7, 511), NGINX_WORKER),
    (Listener(bytes(4), 22, 4, 0, 128), Unowned.NOT_FOUND),
    (Listener(bytes(4), 40_000, 5, 0, 128), PRINTD),
]

GROUPS: Final = Counter(
    {
        SocketGroup(ESTABLISHED, PRINTD, Direction.INBOUND, 631): 12,
        SocketGroup(CLOSE_WAIT, PRINTD, Direction.INBOUND, 631): 412,
        SocketGroup(CLOSE_WAIT, NGINX_WORKER, Direction.OUTBOUND, 5432, DATABASE): 3,
        SocketGroup(ESTABLISHED, NGINX, Direction.INBOUND, 80): 30,
        SocketGroup(ESTABLISHED, NGINX_WORKER, Direction.INBOUND, 80): 40,
        SocketGroup(ESTABLISHED, NGINX_WORKER, Direction.OUTBOUND, 5432, DATABASE): 5,
        SocketGroup(ESTABLISHED, NGINX_WORKER, Direction.OUTBOUND, 5432, FROM_BELOW): 1,
        SocketGroup(SYN_SENT, NGINX_WORKER, Direction.OUTBOUND, 8080, BACKEND): 1,
        SocketGroup(TIME_WAIT, NGINX, Direction.INBOUND, 80, None, Attribution.LISTENER): 90,
        SocketGroup(TIME_WAIT, NGINX, Direction.OUTBOUND, 5432, DATABASE, Attribution.OBSERVED): 20,
        SocketGroup(TIME_WAIT, NGINX_WORKER, Direction.OUTBOUND, 8080, BACKEND, Attribution.INFERRED): 7,
        SocketGroup(TIME_WAIT, Unowned.RELEASED, Direction.OUTBOUND, 443, DATABASE, Attribution.NONE): 17,
        SocketGroup(ESTABLISHED, Unowned.NOT_FOUND, Direction.INBOUND, 22): 2,
        SocketGroup(CLOSE, NGINX, Direction.NONE, 40_001): 1,
    }
)
GROUPS.update(
    SocketGroup(LISTEN, owner, Direction.NONE, listener.local_port) for listener, owner in LISTENING
)


def stuck(group: SocketGroup, cause: Cause, age: float, times: int = 1) -> list[ClassifiedCloseWait]:
    """This number of connections in CLOSE_WAIT; only the age and the cause matter here."""
    socket = Socket(CLOSE_WAIT, HERE, 631, HERE, 50_000, 6, 1)
    return [
        ClassifiedCloseWait(CloseWaitSocket(socket, 1, 0, 0, age, age, mptcp=False), group, cause, age)
    ] * times


PILE: Final = SocketGroup(CLOSE_WAIT, PRINTD, Direction.INBOUND, 631)
LEAK: Final = SocketGroup(CLOSE_WAIT, NGINX_WORKER, Direction.OUTBOUND, 5432, DATABASE)

SEEN: Final = Snapshot(
    groups=GROUPS,
    listeners=LISTENING,
    names={PRINTD: "printd", NGINX: "nginx", NGINX_WORKER: "nginx"},
    unreadable={"permission": 4},
    not_found_because="unreadable",
    seconds=dict.fromkeys(READ, 0.001),
    failed=frozenset(),
    stuck=[
        *stuck(PILE, Cause.NOT_ACCEPTED, 5.5, times=100),
        *stuck(PILE, Cause.NOT_READ, 600.0, times=300),
        *stuck(PILE, Cause.SENDING, 15_000.0, times=12),
        *stuck(LEAK, Cause.NOT_CLOSED, 60.0, times=3),
    ],
    queues={
        PILE: (4_500, 12_000),
        LEAK: (0, 70),
        SocketGroup(ESTABLISHED, NGINX, Direction.INBOUND, 80): (30, 0),
    },
    ports_on_one_address=25,
    limits=SysctlLimits(
        max_time_wait_sockets=131_072,
        time_wait_seconds=60.0,
        time_wait_reuse=2,
        ephemeral=EphemeralRange(40_000, 49_999, frozenset({40_500})),
        max_orphans=65_536,
        memory_bytes=1 << 30,
    ),
    counters=KernelCounters(
        time_wait_started=1_000,
        time_wait_reused=20,
        time_wait_overflows=3,
        listen_overflows=5,
        listen_drops=8,
        syn_queue_drops=4,
        backlog_drops=6,
        aborts={"close": 1, "data": 2, "timeout": 3, "linger": 0, "memory": 0, "failed": 0},
        orphans=7,
        memory_bytes=1 << 20,
    ),
    descriptors={
        PRINTD: FdUsage(900, 1_024),
        NGINX: FdUsage(20, None),
        NGINX_WORKER: FdUsage(100, 1_000),
    },
    source="netlink",
)

ALL: Final = SeriesLimits(100, 50, 2_000)


def collect(
    seen: Snapshot = SEEN,
    limits: SeriesLimits = ALL,
    collectors: frozenset[CollectorName] = frozenset(CollectorName),
) -> dict[str, Metric]:
    """The families by name."""
    collector = SocketCollector(lambda: seen, limits, "netlink", collectors)
    return {family.name: family for family in collector.collect()}


def values(family: Metric) -> dict[tuple[str, ...], float]:
    """Label values in the order of the table -> value."""
    return {tuple(sample.labels.values()): sample.value for sample in family.samples}


def names_of(*collectors: CollectorName) -> set[str]:
    """Return the names of the metrics of these collectors."""
    return {spec.name for spec in catalog.METRICS if spec.collector in collectors}
