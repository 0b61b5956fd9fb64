"""Times of the last ACK and the last data of connections in CLOSE_WAIT, cached.

The dump of all sockets has the queue lengths, but not the times, which are in INET_DIAG_INFO (struct
tcp_info). They are queried once for each new connection: a later query would only return later times of what
was received, which say less about the age in CLOSE_WAIT.

The time at which data was last sent is queried again, since it tells a half-closed transfer from a leak. The
interval doubles while the connection sends nothing, so that an old leak costs next to nothing, and the number
of queries in a collection is limited. Until the next query a connection that has sent seems not to have.

A second dump, of CLOSE_WAIT with INET_DIAG_INFO, would take 40 ms at 150,000 sockets: the kernel
walks its whole table.
"""

from __future__ import annotations

import errno
import heapq
import struct
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import repeat
from typing import Final

from ..model.sockets import CloseWaitSocket, Socket, fast_maker
from .close_wait_dump import INFO_EXTENSION, parse_replies
from .inet_diag import InetDiagTable
from .transport import HEADER, NLMSG_ERROR, NetlinkError, SockDiagClient, get_request

_ERROR: Final = struct.Struct("=i")

# One dump is cheaper than more queries for single sockets than 90 plus one for each 180 sockets in the table.
# A query takes 45 us, a dump 4 ms for an empty table and 0.25 us for each socket in it.
_MAX_SINGLE_QUERIES: Final = 90
_SOCKETS_PER_QUERY: Final = 180

_FIRST_RECHECK_SECONDS: Final = 5.0
# Queries for the time of the last send in each collection: this number, which takes 0.5 ms, and one for every
# _SENDERS_PER_RECHECK connections that are in use. Leaks do not add to it.
_MIN_RECHECKS: Final = 32
_SENDERS_PER_RECHECK: Final = 4
_SENDER_SECONDS: Final = 300.0
# The kernel reports jiffies of 10 ms at most, and the clock is read before the query.
_SENT_AGAIN_SECONDS: Final = 1.0

_VANISHED_ERRNOS: Final = frozenset({errno.ENOENT, errno.ESTALE})

_Times = tuple[float | None, float | None]
"""Times at which the last ACK and the last data were received, in seconds of the monotonic clock."""
_UNKNOWN: Final[_Times] = (None, None)

_make_close_wait = fast_maker(CloseWaitSocket)


class TcpInfoCache:
    """Adds times to the sockets of a dump. Caches sockets in CLOSE_WAIT and their times by cookie.

    dump: returns all connections in CLOSE_WAIT with their times; called if many are new.
    """

    def __init__(
        self,
        client: SockDiagClient,
        dump: Callable[[], Iterable[CloseWaitSocket]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._dump = dump
        self._clock = clock
        self._times: dict[int, _Times] = {}
        self._sent: dict[int, float] = {}
        """Cookie -> time of the last send, in seconds of the monotonic clock. At most half have vanished."""
        self._senders: set[int] = set()
        """Cookies of those that a query found to have sent, while the interval is at most _SENDER_SECONDS."""
        self._rechecks: list[tuple[float, float, int]] = []
        """Heap of (time of the next query, interval, cookie); vanished sockets are dropped when due."""
        self._sockets: dict[int, Socket] = {}

    def with_tcp_info(self, table: InetDiagTable, dump_size: int) -> list[CloseWaitSocket]:
        """Return the sockets of the table, which are all in CLOSE_WAIT, with their times.

        Sockets that have vanished since the dump have no times.

        dump_size: number of sockets in the dump that the table is from.

        Raises NetlinkError.
        """
        cookies = table.cookies()
        new_positions = [position for position, cookie in enumerate(cookies) if cookie not in self._times]
        if new_positions:
            use_dump = len(new_positions) > _MAX_SINGLE_QUERIES + dump_size // _SOCKETS_PER_QUERY
            self._store(self._dump() if use_dump else self._query(table.messages(new_positions)))
        if new_positions or len(self._times) > len(cookies):
            self._times = {cookie: self._times[cookie] for cookie in cookies if cookie in self._times}
            self._senders &= self._times.keys()
            if len(self._sent) > 2 * len(self._times):
                self._sent = {cookie: self._sent[cookie] for cookie in cookies if cookie in self._sent}
                self._rechecks = [entry for entry in self._rechecks if entry[2] in self._sent]
                heapq.heapify(self._rechecks)
        self._recheck(cookies, table)
        self._sockets = self._decode(cookies, table)
        return self._combine(cookies, table)

    def _decode(self, cookies: Sequence[int], table: InetDiagTable) -> dict[int, Socket]:
        """Return the sockets by cookie. Only new ones, and those with a new owner key, are decoded.

        While a socket is in CLOSE_WAIT, only its owner key can change, by accept().
        """
        known = map(self._sockets.get, cookies)
        changed = [
            position
            for position, (sock, owner_key) in enumerate(zip(known, table.owner_keys(), strict=True))
            if sock is None or sock.owner_key != owner_key
        ]
        if not changed and len(self._sockets) == len(cookies):
            return self._sockets
        sockets = self._sockets | {sock.cookie: sock for sock in table.select(changed)}
        return {cookie: sockets[cookie] for cookie in cookies}

    def _combine(self, cookies: Sequence[int], table: InetDiagTable) -> list[CloseWaitSocket]:
        # Column by column, since there can be tens of thousands of these sockets.
        now = self._clock()
        times = list(map(self._times.get, cookies, repeat(_UNKNOWN)))
        columns = (
            map(self._sockets.__getitem__, cookies),
            *table.queues(),
            table.timers(),
            [None if ack is None else now - ack for ack, _ in times],
            [None if data is None else now - data for _, data in times],
            [None if sent is None else now - sent for sent in map(self._sent.get, cookies)],
            repeat(False, len(cookies)),
            repeat(None, len(cookies)),
        )
        return list(map(_make_close_wait, zip(*columns, strict=True)))

    def _store(self, sockets: Iterable[CloseWaitSocket]) -> None:
        for sock in sockets:
            now, cookie = self._clock(), sock.socket.cookie
            times = _subtract(now, sock.seconds_since_ack), _subtract(now, sock.seconds_since_data)
            self._times.setdefault(cookie, times)
            if sock.seconds_since_sent is not None and cookie not in self._sent:
                self._sent[cookie] = now - sock.seconds_since_sent
                due = now + _FIRST_RECHECK_SECONDS
                heapq.heappush(self._rechecks, (due, _FIRST_RECHECK_SECONDS, cookie))

    def _recheck(self, cookies: Sequence[int], table: InetDiagTable) -> None:
        """Query the time of the last send of the connections that are due, the longest overdue first.

        The clock is read before the query: a time that was not refreshed does not seem later than before.
        """
        due = self._pop_due(_MIN_RECHECKS + len(self._senders) // _SENDERS_PER_RECHECK)
        if not due:
            return
        positions = dict(zip(cookies, range(len(cookies)), strict=True))
        now, sent = self._clock(), dict[int, float]()
        try:
            for sock in self._query(table.messages([positions[cookie] for cookie in due])):
                if sock.seconds_since_sent is not None:
                    sent[sock.socket.cookie] = now - sock.seconds_since_sent
        finally:
            for cookie, interval in due.items():
                next_interval = 2 * interval
                if sent.get(cookie, 0.0) > self._sent[cookie] + _SENT_AGAIN_SECONDS:
                    next_interval = _FIRST_RECHECK_SECONDS
                    self._senders.add(cookie)
                elif next_interval > _SENDER_SECONDS:
                    self._senders.discard(cookie)
                heapq.heappush(self._rechecks, (now + next_interval, next_interval, cookie))
            self._sent |= sent

    def _pop_due(self, limit: int) -> dict[int, float]:
        """Remove at most `limit` due connections from the heap, and return their intervals by cookie."""
        now, due = self._clock(), dict[int, float]()
        while len(due) < limit and self._rechecks and self._rechecks[0][0] <= now:
            _, interval, cookie = heapq.heappop(self._rechecks)
            if cookie in self._times:
                due[cookie] = interval
        return due

    def _query(self, messages: Iterable[bytes]) -> Iterator[CloseWaitSocket]:
        requests = (get_request(message[0], message[4:52], INFO_EXTENSION) for message in messages)
        return parse_replies(reply for reply in self._client.get(requests) if not _has_vanished(reply))


def _has_vanished(reply: bytes) -> bool:
    """Return whether the reply means that the socket has vanished. Raises NetlinkError for other errors."""
    _, message_type, _, _, _ = HEADER.unpack_from(reply)
    if message_type != NLMSG_ERROR:
        return False
    (code,) = _ERROR.unpack_from(reply, HEADER.size)
    if -code not in _VANISHED_ERRNOS:
        raise NetlinkError.from_errno(-code, "reading a socket")
    return True


def _subtract(now: float, seconds: float | None) -> float | None:
    return None if seconds is None else now - seconds
