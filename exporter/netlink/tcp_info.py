"""When the other side of each connection in CLOSE_WAIT was last heard: asked for once, when it is new.

The dump of all sockets has what is in the queues; the times are in INET_DIAG_INFO, which it leaves out.
What is heard later only makes a time later, and tells less (analysis/close_wait.py): what was said
first stays. A second dump, of CLOSE_WAIT with INET_DIAG_INFO, would walk over the kernel's whole table
once more: 40 ms where there are 150,000 sockets.
"""

from __future__ import annotations

import errno
import struct
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import repeat
from typing import Final

from ..model.sockets import CloseWaitSocket, Socket, fast_maker
from .close_wait import WITH_INFO, parse_answers
from .messages import KernelRows
from .transport import HEADER, NLMSG_ERROR, NetlinkError, Transport, request_one_socket

_ERROR: Final = struct.Struct("=i")

# One socket asked for costs 45 us; a dump 4 ms for an empty table, and 0.25 us for each socket in it.
_ONE_BY_ONE: Final = 90
_PASSED_BY_FOR_ONE: Final = 180

_GONE: Final = frozenset({errno.ENOENT, errno.ESTALE})

_Moments = tuple[float | None, float | None]
"""When the last ACK came and when the last data, in seconds of the clock."""
_NEVER: Final[_Moments] = (None, None)

_half_closed = fast_maker(CloseWaitSocket)


class LastHeard:
    """Completes the messages of a dump. Remembers those in CLOSE_WAIT, by cookie.

    dump: gives all connections in CLOSE_WAIT with their times, for when most are new.
    """

    def __init__(
        self,
        transport: Transport,
        dump: Callable[[], Iterable[CloseWaitSocket]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._transport = transport
        self._dump = dump
        self._clock = clock
        self._moments: dict[int, _Moments] = {}
        self._sockets: dict[int, Socket] = {}

    def complete(self, rows: KernelRows, among: int) -> list[CloseWaitSocket]:
        """The connections in CLOSE_WAIT, from a dump of `among` sockets. Raises NetlinkError."""
        cookies = rows.cookies()
        new = [place for place, cookie in enumerate(cookies) if cookie not in self._moments]
        if new:
            many = len(new) > _ONE_BY_ONE + among // _PASSED_BY_FOR_ONE
            self._learn(self._dump() if many else self._ask(rows.messages(new)))
        # Those that are gone meanwhile were in CLOSE_WAIT when they were counted, and stay without times.
        if new or len(self._moments) > len(cookies):
            self._moments = {cookie: self._moments[cookie] for cookie in cookies if cookie in self._moments}
        self._sockets = self._decoded(cookies, rows)
        return self._completed(cookies, rows)

    def _decoded(self, cookies: Sequence[int], rows: KernelRows) -> dict[int, Socket]:
        """The sockets by cookie. Of those decoded before only the holder can be another, by accept()."""
        known = map(self._sockets.get, cookies)
        changed = [
            place
            for place, (one, owner_key) in enumerate(zip(known, rows.owner_keys(), strict=True))
            if one is None or one.owner_key != owner_key
        ]
        if not changed and len(self._sockets) == len(cookies):
            return self._sockets
        sockets = self._sockets | {one.cookie: one for one in rows.select(changed)}
        return {cookie: sockets[cookie] for cookie in cookies}

    def _completed(self, cookies: Sequence[int], rows: KernelRows) -> list[CloseWaitSocket]:
        # Column by column: tens of thousands of these sockets are what this program is for.
        now = self._clock()
        moments = list(map(self._moments.get, cookies, repeat(_NEVER)))
        columns = (
            map(self._sockets.__getitem__, cookies),
            *rows.queues(),
            rows.timers(),
            [None if ack is None else now - ack for ack, _ in moments],
            [None if data is None else now - data for _, data in moments],
            repeat(False, len(cookies)),
        )
        return list(map(_half_closed, zip(*columns, strict=True)))

    def _learn(self, halves: Iterable[CloseWaitSocket]) -> None:
        for half in halves:
            now = self._clock()
            moments = _before(now, half.seconds_since_ack), _before(now, half.seconds_since_data)
            self._moments.setdefault(half.socket.cookie, moments)

    def _ask(self, messages: Iterable[bytes]) -> Iterator[CloseWaitSocket]:
        requests = (request_one_socket(message[0], message[4:52], WITH_INFO) for message in messages)
        return parse_answers(answer for answer in self._transport.ask(requests) if not _is_refused(answer))


def _is_refused(answer: bytes) -> bool:
    """Whether the socket is gone. Raises NetlinkError for every other refusal."""
    _, kind, _, _, _ = HEADER.unpack_from(answer)
    if kind != NLMSG_ERROR:
        return False
    (code,) = _ERROR.unpack_from(answer, HEADER.size)
    if -code not in _GONE:
        raise NetlinkError.of_kernel(-code, "reading a socket")
    return True


def _before(now: float, seconds: float | None) -> float | None:
    return None if seconds is None else now - seconds
