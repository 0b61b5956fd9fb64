"""Batches of sockets as sources give them, and how a counter counts them."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import repeat

from hypothesis import strategies as st

from exporter.model import (
    CLOSE_WAIT,
    ESTABLISHED,
    FIN_WAIT2,
    NO_HOLDER,
    TIME_WAIT,
    Batch,
    Direction,
    Group,
    Kind,
    ProcessId,
    Rows,
    Socket,
)
from exporter.portable import psutil_source
from exporter.tracking.counter import GroupIdsOf, SocketCounter
from exporter.tracking.pending import CountInProgress

HOME = bytes((127, 0, 0, 1))

Queues = Mapping[int, tuple[int, int]]
NO_QUEUES: Queues = {}


def socket(cookie: int, state: int = ESTABLISHED, port: int = 443, holder: int = 1) -> Socket:
    return Socket(state, HOME, 50_000, HOME, port, holder, cookie)


def batch(sockets: Sequence[Socket], queues: Queues = NO_QUEUES) -> Batch:
    """A batch as the kernel's source gives it, of sockets of one kind. queues: cookie -> unread and unsent
    bytes."""
    (batch,) = batches(sockets, queues)
    return batch


def batches(sockets: Sequence[Socket], queues: Queues = NO_QUEUES) -> list[Batch]:
    """A batch for each kind of sockets."""
    by_kind: defaultdict[Kind, list[Socket]] = defaultdict(list)
    for one in sockets:
        by_kind[Kind(one.state, one.holder != NO_HOLDER)].append(one)
    return [_batch(kind, some, queues) for kind, some in by_kind.items()]


def _batch(kind: Kind, sockets: Sequence[Socket], queues: Queues) -> Batch:
    (plain,) = psutil_source.batches(sockets)
    if kind.state == TIME_WAIT:
        queues = NO_QUEUES
    queued = [(row.cookie, *queues[row.cookie]) for row in sockets if row.cookie in queues]
    holders = plain.holders if kind.held else b""
    return Batch(kind, [row.cookie for row in sockets], holders, plain.take, plain.local_ends, queued)


def group(row: Socket, _before: Group | None = None) -> Group:
    return Group(row.state, ProcessId(row.holder, 0.0), Direction.OUTBOUND, row.remote_port)


@dataclass
class RecordingClassifier:
    """Classifies as group() does, and records the sockets and their previous groups."""

    rows: list[Socket] = field(default_factory=list)
    previous: list[Group | None] = field(default_factory=list)

    def __call__(self, row: Socket, previous: Group | None) -> Group:
        self.rows.append(row)
        self.previous.append(previous)
        return group(row)


ClassifyOne = Callable[[Socket, Group | None], Group]


def each(classify: ClassifyOne) -> GroupIdsOf:
    """Classify all sockets, one after the other."""

    def group_ids(rows: Rows, previous: Sequence[Group | None], id_of: Callable[[Group], int]) -> list[int]:
        return [id_of(classify(*one)) for one in zip(rows, previous or repeat(None), strict=False)]

    return group_ids


def complete(
    counter: SocketCounter, pending: CountInProgress, classify: ClassifyOne = group, *, cacheable: bool = True
) -> Counter[Group]:
    return counter.complete(pending, each(classify), lambda: None, lambda _: None, cacheable=cacheable)


def count(counter: SocketCounter, *batches: Batch) -> Counter[Group]:
    return complete(counter, counter.begin(batches))


ROWS = st.lists(
    st.builds(
        socket,
        st.integers(1, 60),
        st.sampled_from([ESTABLISHED, TIME_WAIT, CLOSE_WAIT, FIN_WAIT2]),
        st.just(443),
        st.integers(1, 3),
    ),
    unique_by=lambda row: row.cookie,
)
