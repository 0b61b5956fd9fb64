"""TCP sockets of the exporter's network namespace, read through netlink."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
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
from .close_wait_dump import CloseWaitReader, merge_mptcp
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
    mptcp_dump_request,
)

_LISTEN_MASK: Final = 1 << LISTEN
_CONNECTED_MASK: Final = 0xFFE & ~_LISTEN_MASK
# States of minisocks, small structures without attributes and without an owner (net/ipv4/tcp_minisocks.c).
# Their messages differ in size from those of full sockets. If they are dumped separately, the messages of
# each dump mostly have one size and need no grouping, which takes longer than a second walk over a full
# table. A socket in FIN_WAIT2 becomes a minisock when its process closes it; before, it has an owner.
_MINISOCK_STATES: Final = frozenset({TIME_WAIT, SYN_RECV})
_MINISOCK_MASK: Final = sum(1 << state for state in _MINISOCK_STATES)
_FULLSOCK_MASK: Final = _CONNECTED_MASK & ~_MINISOCK_MASK
_MPTCP_MASK: Final = _LISTEN_MASK | _CONNECTED_MASK
# Share of the sockets of the previous dump after which the dump of minisocks starts. Minisocks are dumped
# twice as fast; with this share their dump does not overtake the first one, and a connection that closes in
# the meantime is in both dumps instead of in neither.
_START_SECOND_DUMP_AT: Final = 0.9
# Bit that requests sockets that are bound, but neither listening nor connected: the only ones in CLOSE on
# Linux. Linux 6.8 (commit 91051f003948) added it; older kernels ignore it.
_BOUND_ONLY_BIT: Final = 1 << 13

SINGLE_DUMP_MAX_SOCKETS: Final = 10_000
"""Maximum number of sockets for which one dump of all states is cheapest: a walk of an empty table takes 2 to
4 ms."""

BOUND_ONLY_INTERVAL_SECONDS: Final = 60.0
"""Time between two reads of the bound-only sockets above SINGLE_DUMP_MAX_SOCKETS. The kernel's table of them
contains the connected sockets as well: a read takes 40 ms at 72,000 of those."""


class NetlinkSource:
    """Reads sockets through `sock_diag`.

    full_sockets() must be called before listeners(): the listener of every accepted socket is then among the
    listeners, even if it was opened just before.
    """

    name: Final = "netlink"
    has_bound_sockets: Final = True

    def __init__(
        self, client: SockDiagClient | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._client = client or SockDiagClient()
        self._clock = clock
        self._compat_request = True
        self._sorter = SizeSorter()
        self._close_wait_source = CloseWaitReader(self._client)
        self._tcp_info = TcpInfoCache(self._client, self._close_wait_source.read_tcp)
        # Number of sockets in the previous dump: in all states, and those of full_sockets().
        self._previous_count: int | None = None
        self._previous_full_count = inf
        self._close_wait: InetDiagTable | None = None
        self._minisocks: Iterator[SocketBatch] = iter(())
        self.pending_states: frozenset[int] = frozenset()
        """States that only minisocks() returns. Valid when full_sockets() is exhausted."""
        self._bound_only = InetDiagTable(b"")
        self.has_current_bound_only = False
        """Whether the last full_sockets() has read the bound-only sockets, not returned earlier ones."""
        self._next_bound_only_read = 0.0

    def full_sockets(self) -> Iterator[SocketBatch]:
        """Yield all TCP sockets except listeners and those of pending_states.

        A connection that closes between this and minisocks() is in both, never in neither.

        Raises NetlinkError, possibly after some batches.
        """
        self._minisocks, self.pending_states = iter(()), frozenset()
        single_dump = self._previous_count is not None and self._previous_count <= SINGLE_DUMP_MAX_SOCKETS
        bound_only = _BOUND_ONLY_BIT if single_dump or self._clock() >= self._next_bound_only_read else 0
        tables_by_state: dict[int, list[InetDiagTable]] = {CLOSE_WAIT: [], CLOSE: []}
        count, self._close_wait = 0, None
        for batch in self._dump((_CONNECTED_MASK if single_dump else _FULLSOCK_MASK) | bound_only):
            count += len(batch.keys)
            if batch.keyspace.state in tables_by_state:
                tables_by_state[batch.keyspace.state].append(_table_of(batch))
            has_started_minisocks = single_dump or self.pending_states
            if not has_started_minisocks and count > _START_SECOND_DUMP_AT * self._previous_full_count:
                self._start_minisocks()
            yield batch
        self._previous_count = self._previous_full_count = count
        self._close_wait = join_tables(tables_by_state[CLOSE_WAIT])
        self.has_current_bound_only = bool(bound_only)
        if bound_only:
            self._bound_only = join_tables(tables_by_state[CLOSE])
            self._next_bound_only_read = self._clock() + BOUND_ONLY_INTERVAL_SECONDS
        else:
            yield from split_by_keyspace(self._bound_only)
        if not single_dump and not self.pending_states:
            self._start_minisocks()

    def minisocks(self) -> Iterator[SocketBatch]:
        """Yield the sockets of pending_states, which a thread has been reading since full_sockets().

        Raises NetlinkError, possibly after some batches; the next call then starts a new dump.
        """
        count = 0
        try:
            for batch in self._minisocks:
                count += len(batch.keys)
                yield batch
        except NetlinkError:
            # If the caller does not retry, its count fails, and the next one needs the bound-only sockets.
            self._next_bound_only_read = 0.0
            self._minisocks = self._dump(_MINISOCK_MASK)
            raise
        self._previous_count = (self._previous_count or 0) + count

    def listeners(self) -> list[Listener]:
        """Return all listening TCP sockets. Raises NetlinkError."""
        return [
            listener
            for request in self._requests(_LISTEN_MASK)
            for listener in decode_listeners(self._client.dump(request), self._sorter)
        ]

    def close_wait_sockets(self) -> list[CloseWaitSocket]:
        """Return the connections in CLOSE_WAIT with queues and times. Raises NetlinkError.

        They are those of the last full_sockets() or, if that failed, those of a new dump.
        """
        if self._close_wait is None:
            return self._close_wait_source.read()
        tcp = self._tcp_info.with_tcp_info(self._close_wait, self._previous_count or 0)
        return merge_mptcp(tcp, self._close_wait_source.read_mptcp())

    def bound_only_owner_keys(self) -> list[int]:
        """Return the owner keys of the bound-only sockets of the last full_sockets()."""
        return self._bound_only.owner_keys()

    def owner_keys(self) -> set[int]:
        """Return the owner keys of all sockets, from a dump of its own. Raises NetlinkError."""

        def read() -> set[int]:
            keys = _owner_keys(self._dump(_FULLSOCK_MASK | _BOUND_ONLY_BIT))
            return keys.union(listener.owner_key for listener in self.listeners())

        return retry_transient(read)

    def mptcp_owner_keys(self) -> set[int] | None:
        """Return the owner keys of all MPTCP sockets, None if the kernel does not report them.

        Raises NetlinkError.
        """
        requests = [mptcp_dump_request(family, _MPTCP_MASK) for family in (AF_INET, AF_INET6)]

        def read() -> set[int]:
            return _owner_keys(
                chain.from_iterable(decode_sockets(self._client.dump(request)) for request in requests)
            )

        try:
            return retry_transient(read)
        except NetlinkError as error:
            if not is_unsupported(error):
                raise
            return None

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
    """Return an equal iterator whose first item has been read, which sends the request."""
    first = next(reply)
    return chain([first], reply)


def _table_of(batch: SocketBatch) -> InetDiagTable:
    return cast(InetDiagTable, batch.select(range(len(batch.keys))))  # the decoder returns no other class


def _owner_keys(batches: Iterable[SocketBatch]) -> set[int]:
    return {key for batch in batches for key in memoryview(batch.owner_key_column).cast("I")}
