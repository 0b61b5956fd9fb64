"""TCP sockets of the exporter's network namespace, read through netlink."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from itertools import chain
from math import inf
from typing import Final, cast

from ..model.sockets import (
    CLOSE,
    CLOSE_WAIT,
    LISTEN,
    SYN_RECV,
    TIME_WAIT,
    CloseWaitSocket,
    Listener,
    SocketBatch,
)
from .batches import split_by_keyspace
from .close_wait_dump import CloseWaitSource, merge_mptcp
from .decoder import SizeSorter, decode_listeners, decode_sockets
from .inet_diag import InetDiagTable, join_tables
from .retry import retry_transient
from .tcp_info import TcpInfoCache
from .transport import (
    AF_INET,
    AF_INET6,
    NetlinkError,
    SockDiagClient,
    dump_request,
    dump_request_compat,
    is_unsupported,
)

_LISTEN_MASK: Final = 1 << LISTEN
_CONNECTED_MASK: Final = 0xFFE & ~_LISTEN_MASK
# States of minisocks, small structures without attributes and without an owner (net/ipv4/tcp_minisocks.c).
# Their messages differ in size from those of full sockets: dumped separately, the messages of a dump mostly
# have one size and need no grouping, which takes longer than a second walk over a full table. FIN_WAIT2
# becomes a minisock when it is closed; before, it has an owner.
_MINISOCK_STATES: Final = frozenset({TIME_WAIT, SYN_RECV})
_MINISOCK_MASK: Final = sum(1 << state for state in _MINISOCK_STATES)
_FULLSOCK_MASK: Final = _CONNECTED_MASK & ~_MINISOCK_MASK
# Share of the sockets of the previous dump after which the dump of minisocks starts. That one is twice as
# fast; started here it does not overtake the first: a connection that closes meanwhile is in both instead of
# in neither.
_START_SECOND_DUMP_AT: Final = 0.9
# Sockets that are bound, but neither listening nor connected: the only ones in CLOSE on Linux. The kernel has
# them in a table of their own since 6.8 (commit 91051f003948); older kernels ignore the bit.
_BOUND_ONLY_BIT: Final = 1 << 13

SINGLE_DUMP_MAX_SOCKETS: Final = 10_000
"""Up to this number of sockets one dump of all states is cheapest: a walk costs 2 to 4 ms for an empty
table."""

BOUND_ONLY_INTERVAL_SECONDS: Final = 60.0
"""Time between two reads of the bound-only sockets where there are more. That table contains the connected
sockets as well: reading it takes 40 ms at 72,000 of them."""


class NetlinkSource:
    """Reads `sock_diag`. Call full_sockets() first and then listeners(): the listener of every accepted
    socket is then among the listeners, however young it is."""

    name: Final = "netlink"

    def __init__(
        self, client: SockDiagClient | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._client = client or SockDiagClient()
        self._clock = clock
        self._compat_request = True
        self._sorter = SizeSorter()
        self._close_wait_source = CloseWaitSource(self._client)
        self._tcp_info = TcpInfoCache(self._client, self._close_wait_source.tcp)
        # Of the previous dump: all sockets, and those of full_sockets().
        self._number: int | None = None
        self._number_full = inf
        self._close_wait: InetDiagTable | None = None
        self._minisocks: Iterator[SocketBatch] = iter(())
        self.pending_states: frozenset[int] = frozenset()
        """States that minisocks() is going to return, once full_sockets() is exhausted."""
        self._bound_only = InetDiagTable(b"")
        self._read_bound_only_at = 0.0

    def full_sockets(self) -> Iterator[SocketBatch]:
        """Yield all TCP sockets except listeners and those of pending_states. Raises NetlinkError, also half
        way.

        A connection that is closed between this and minisocks() is in both, never in neither.
        """
        self._minisocks, self.pending_states = iter(()), frozenset()
        single_dump = self._number is not None and self._number <= SINGLE_DUMP_MAX_SOCKETS
        bound_only = _BOUND_ONLY_BIT if single_dump or self._clock() >= self._read_bound_only_at else 0
        kept: dict[int, list[InetDiagTable]] = {CLOSE_WAIT: [], CLOSE: []}
        number, self._close_wait = 0, None
        for batch in self._dump((_CONNECTED_MASK if single_dump else _FULLSOCK_MASK) | bound_only):
            number += len(batch.keys)
            if batch.keyspace.state in kept:
                kept[batch.keyspace.state].append(_table(batch))
            started = single_dump or self.pending_states
            if not started and number > _START_SECOND_DUMP_AT * self._number_full:
                self._start_minisocks()
            yield batch
        self._number = self._number_full = number
        self._close_wait = join_tables(kept[CLOSE_WAIT])
        if bound_only:
            self._bound_only = join_tables(kept[CLOSE])
            self._read_bound_only_at = self._clock() + BOUND_ONLY_INTERVAL_SECONDS
        else:
            yield from split_by_keyspace(self._bound_only)
        if not single_dump and not self.pending_states:
            self._start_minisocks()

    def minisocks(self) -> Iterator[SocketBatch]:
        """Yield the sockets of pending_states, which a thread has been reading since full_sockets().

        Raises NetlinkError, also half way; the next call then starts a new dump.
        """
        number = 0
        try:
            for batch in self._minisocks:
                number += len(batch.keys)
                yield batch
        except NetlinkError:
            # The whole count fails if this is not repeated: the next one has to read everything.
            self._read_bound_only_at = 0.0
            self._minisocks = self._dump(_MINISOCK_MASK)
            raise
        self._number = (self._number or 0) + number

    def listeners(self) -> list[Listener]:
        """Return all listening TCP sockets. Raises NetlinkError."""
        return [
            listener
            for request in self._requests(_LISTEN_MASK)
            for listener in decode_listeners(self._client.dump(request), self._sorter)
        ]

    def close_wait_sockets(self) -> list[CloseWaitSocket]:
        """Return the connections in CLOSE_WAIT of the last full_sockets(), with queues and times.

        If that failed, those that exist now. Raises NetlinkError.
        """
        if self._close_wait is None:
            return self._close_wait_source.read()
        tcp = self._tcp_info.with_tcp_info(self._close_wait, self._number or 0)
        return merge_mptcp(tcp, self._close_wait_source.mptcp())

    def probe(self) -> None:
        """Raise NetlinkError if the kernel, container or sandbox refuses sock_diag."""
        try:
            retry_transient(self.listeners)
        except NetlinkError as error:
            if not is_unsupported(error) or not self._compat_request:
                raise
            self._compat_request = False
            self.listeners()

    def _start_minisocks(self) -> None:
        self._minisocks = self._dump(_MINISOCK_MASK, prefetch=True)
        self.pending_states = _MINISOCK_STATES

    def _dump(self, states: int, *, prefetch: bool = False) -> Iterator[SocketBatch]:
        replies = [self._client.dump(request, prefetch=prefetch) for request in self._requests(states)]
        if prefetch:
            replies = list(map(_start, replies))
        return chain.from_iterable(decode_sockets(reply, self._sorter) for reply in replies)

    def _requests(self, states: int) -> list[bytes]:
        if self._compat_request:
            return [dump_request_compat(states)]
        return [dump_request(family, states) for family in (AF_INET, AF_INET6)]


def _start(reply: Iterator[bytes]) -> Iterator[bytes]:
    """Return an equal iterator after taking the first item, which sends the request."""
    first = next(reply)
    return chain([first], reply)


def _table(batch: SocketBatch) -> InetDiagTable:
    return cast(InetDiagTable, batch.rows_at(range(len(batch.keys))))  # the only class that the decoder makes
