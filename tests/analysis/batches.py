"""Batches of sockets as sources give them, and how a tally counts them."""

from __future__ import annotations

from array import array
from collections import Counter
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
    TIME_WAIT,
    Batch,
    Direction,
    Group,
    Key,
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


def batch(sockets: Sequence[Socket], *, time_wait: bool = False, queues: Queues = NO_QUEUES) -> Batch:
    """A batch with the keys that the kernel's source gives. queues: cookie -> unread and unsent bytes."""

    def key(row: Socket) -> Key:
        plain = TIME_WAIT if time_wait else ESTABLISHED
        return row.cookie if row.state == plain else (row.state, row.cookie, row.holder)

    holders = array("I", [row.holder for row in sockets]).tobytes()
    queued = [(place, *queues[row.cookie]) for place, row in enumerate(sockets) if row.cookie in queues]
    plain = portable.batch(sockets)
    return Batch([key(row) for row in sockets], time_wait, holders, plain.take, plain.local_ends, queued)


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


def split(rows: Sequence[Socket], queues: Queues = NO_QUEUES) -> list[Batch]:
    """Batches as the kernel's source gives them."""
    waiting = [row for row in rows if row.state == TIME_WAIT]
    others = [row for row in rows if row.state != TIME_WAIT]
    return [batch(others, queues=queues), batch(waiting, time_wait=True)]
