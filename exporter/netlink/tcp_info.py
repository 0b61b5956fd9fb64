"""Times of the last ACK and the last data of connections in CLOSE_WAIT, queried once for each new connection.

The dump of all sockets has the queue lengths, but not the times, which are in INET_DIAG_INFO (struct
tcp_info). The times are cached: a later query would only return later times, which say less about the age in
CLOSE_WAIT. A second dump, of CLOSE_WAIT with INET_DIAG_INFO, would take 40 ms at 150,000 sockets: the kernel
walks its whole table.
"""

from __future__ import annotations

import errno
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
            repeat(False, len(cookies)),
        )
        return list(map(_make_close_wait, zip(*columns, strict=True)))

    def _store(self, sockets: Iterable[CloseWaitSocket]) -> None:
        for sock in sockets:
            now = self._clock()
            times = _subtract(now, sock.seconds_since_ack), _subtract(now, sock.seconds_since_data)
            self._times.setdefault(sock.socket.cookie, times)

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
