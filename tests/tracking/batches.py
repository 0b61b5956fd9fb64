"""Batches of sockets as sources return them, and helpers to count them."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import repeat

from hypothesis import strategies as st

from exporter.model.groups import Direction, SocketGroup
from exporter.model.process import ProcessId
from exporter.model.sockets import (
    CLOSE_WAIT,
    ESTABLISHED,
    FIN_WAIT2,
    NO_OWNER_KEY,
    TIME_WAIT,
    KeySpace,
    Socket,
    SocketBatch,
    SocketTable,
)
from exporter.portable import psutil_source
from exporter.tracking.counter import GroupIdsOf, SocketCounter
from exporter.tracking.pending import CountInProgress

HOME = bytes((127, 0, 0, 1))

Queues = Mapping[int, tuple[int, int]]
NO_QUEUES: Queues = {}


def socket(cookie: int, state: int = ESTABLISHED, port: int = 443, owner_key: int = 1) -> Socket:
    return Socket(state, HOME, 50_000, HOME, port, owner_key, cookie)


def batch(sockets: Sequence[Socket], queues: Queues = NO_QUEUES) -> SocketBatch:
    """Return a batch as from netlink, of sockets of one key space. queues: cookie -> unread and unsent
    bytes."""
    (batch,) = batches(sockets, queues)
    return batch


def batches(sockets: Sequence[Socket], queues: Queues = NO_QUEUES) -> list[SocketBatch]:
    """Return a batch for each key space."""
    by_keyspace: defaultdict[KeySpace, list[Socket]] = defaultdict(list)
    for sock in sockets:
        by_keyspace[KeySpace(sock.state, sock.owner_key != NO_OWNER_KEY)].append(sock)
    return [_batch(keyspace, members, queues) for keyspace, members in by_keyspace.items()]


def _batch(keyspace: KeySpace, sockets: Sequence[Socket], queues: Queues) -> SocketBatch:
    (plain,) = psutil_source.to_batches(sockets)
    if keyspace.state == TIME_WAIT:
        queues = NO_QUEUES
    queued = [(row.cookie, *queues[row.cookie]) for row in sockets if row.cookie in queues]
    owner_keys = plain.owner_key_column if keyspace.owned else b""
    return SocketBatch(
        keyspace, [row.cookie for row in sockets], owner_keys, plain.select, plain.local_endpoints, queued
    )


def group(row: Socket, _previous: SocketGroup | None = None) -> SocketGroup:
    return SocketGroup(row.state, ProcessId(row.owner_key, 0.0), Direction.OUTBOUND, row.remote_port)


@dataclass
class RecordingClassifier:
    """Classifies as group() does, and records the sockets and their previous groups."""

    rows: list[Socket] = field(default_factory=list)
    previous: list[SocketGroup | None] = field(default_factory=list)

    def __call__(self, row: Socket, previous: SocketGroup | None) -> SocketGroup:
        self.rows.append(row)
        self.previous.append(previous)
        return group(row)


ClassifyOne = Callable[[Socket, SocketGroup | None], SocketGroup]


def one_by_one(classify: ClassifyOne) -> GroupIdsOf:
    """Classify all sockets, one after the other."""

    def group_ids(
        rows: SocketTable, previous: Sequence[SocketGroup | None], id_of: Callable[[SocketGroup], int]
    ) -> list[int]:
        return [id_of(classify(*pair)) for pair in zip(rows, previous or repeat(None), strict=False)]

    return group_ids


def complete(
    counter: SocketCounter, pending: CountInProgress, classify: ClassifyOne = group, *, cacheable: bool = True
) -> Counter[SocketGroup]:
    return counter.complete(pending, one_by_one(classify), lambda: None, lambda *_: None, cacheable=cacheable)


def count(counter: SocketCounter, *batches: SocketBatch) -> Counter[SocketGroup]:
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
