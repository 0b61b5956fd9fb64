"""Batches of sockets as sources give them, and how a tally counts them."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import repeat

from hypothesis import strategies as st

from exporter.analysis.reading import Reading
from exporter.analysis.tally import Classify, Tally
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
from exporter.sources import portable

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
    (plain,) = portable.batches(sockets)
    if kind.state == TIME_WAIT:
        queues = NO_QUEUES
    queued = [(row.cookie, *queues[row.cookie]) for row in sockets if row.cookie in queues]
    holders = plain.holders if kind.held else b""
    return Batch(kind, [row.cookie for row in sockets], holders, plain.take, plain.local_ends, queued)


def group(row: Socket, _before: Group | None = None) -> Group:
    return Group(row.state, ProcessId(row.holder, 0.0), Direction.OUTBOUND, row.remote_port)


@dataclass
class Asked:
    """Classifies as group() does, and notes what it is asked."""

    rows: list[Socket] = field(default_factory=list)
    before: list[Group | None] = field(default_factory=list)

    def __call__(self, row: Socket, before: Group | None) -> Group:
        self.rows.append(row)
        self.before.append(before)
        return group(row)


ClassifyOne = Callable[[Socket, Group | None], Group]


def each(classify: ClassifyOne) -> Classify:
    """Classifies all, one after the other."""

    def numbers(rows: Rows, before: Sequence[Group | None], number_of: Callable[[Group], int]) -> list[int]:
        return [number_of(classify(*one)) for one in zip(rows, before or repeat(None), strict=False)]

    return numbers


def settle(
    tally: Tally, reading: Reading, classify: ClassifyOne = group, *, remember: bool = True
) -> Counter[Group]:
    for time_wait in (False, True):
        tally.settle(reading, each(classify), time_wait=time_wait, remember=remember)
    return tally.finish(reading)


def count(tally: Tally, *batches: Batch) -> Counter[Group]:
    return settle(tally, tally.read(batches))


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
