"""The sockets of the exporter's network namespace, straight from the Linux kernel."""

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
from . import decoder
from .batches import batches_of
from .close_wait import HalfClosedSource, merged
from .messages import KernelRows, joined
from .retry import while_busy
from .tcp_info import LastHeard
from .transport import AF_INET, AF_INET6, Transport, not_offered, request_both_families, request_one_family
from .transport import NetlinkError as NetlinkError

_LISTENING: Final = 1 << LISTEN
_CONNECTED: Final = 0xFFE & ~_LISTENING
# The kernel keeps these in small structures without attributes, whose messages have another size than those
# of full sockets. Asked for apart, the messages of a batch are of one size mostly, and need no sorting,
# which takes longer than a second walk over the kernel's table where it is full. Nobody holds any of them.
# FIN_WAIT2 is small, too, once it is closed; before, it is held.
_IN_SMALL: Final = frozenset({TIME_WAIT, SYN_RECV})
_SMALL: Final = sum(1 << state for state in _IN_SMALL)
_FULL: Final = _CONNECTED & ~_SMALL
# The second walk begins when the first one has come that far, by the number of sockets in the last one. The
# second is twice as fast, and begun here it does not overtake the first: a connection that is closed
# meanwhile is in both, rather than in neither.
_BEGINS_AT: Final = 0.9
# Bound, but neither listening nor connected: Linux' only sockets in CLOSE. The kernel has them in
# a table of their own since 6.8 (commit 91051f003948) and older ones ignore the bit.
_BOUND: Final = 1 << 13

# With so many sockets or fewer, one walk for all is the cheapest: 2 to 4 ms for an empty table.
FEW: Final = 10_000
# The table of bound sockets holds every connected one too: with 72,000 of them a look takes 40 ms.
# Where there are more than few, it is repeated only so often, in seconds.
BOUND_EVERY: Final = 60.0


class KernelSource:
    """Reads `sock_diag`. Ask for sockets() first, then for listeners(): a listener that accepted
    one of the sockets is then among the listeners, however young it is."""

    name: Final = "netlink"

    def __init__(
        self, transport: Transport | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._transport = transport or Transport()
        self._clock = clock
        self._one_request = True
        self._runs = decoder.Runs()
        self._half_closed = HalfClosedSource(self._transport)
        self._last_heard = LastHeard(self._transport, self._half_closed.tcp)
        # How many sockets the last dump had, and some of them.
        self._number: int | None = None
        self._full = inf
        self._close_wait: KernelRows | None = None
        self._rest: Iterator[SocketBatch] = iter(())
        self.to_come: frozenset[int] = frozenset()
        """The states that rest() will tell of, once sockets() has ended."""
        self._bound = KernelRows(b"")
        self._bound_again_at = 0.0

    def sockets(self) -> Iterator[SocketBatch]:
        """All TCP sockets but listeners. Raises NetlinkError, also half way.

        A connection that is closed between this and rest() is in both, rather than in neither.
        """
        self._rest, self.to_come = iter(()), frozenset()
        few = self._number is not None and self._number <= FEW
        bound = _BOUND if few or self._clock() >= self._bound_again_at else 0
        apart: dict[int, list[KernelRows]] = {CLOSE_WAIT: [], CLOSE: []}
        number, self._close_wait = 0, None
        for batch in self._dump((_CONNECTED if few else _FULL) | bound):
            number += len(batch.keys)
            if batch.keyspace.state in apart:
                apart[batch.keyspace.state].append(_rows(batch))
            if not few and not self.to_come and number > _BEGINS_AT * self._full:
                self._begin_rest()
            yield batch
        self._number = self._full = number
        self._close_wait = joined(apart[CLOSE_WAIT])
        if bound:
            self._bound = joined(apart[CLOSE])
            self._bound_again_at = self._clock() + BOUND_EVERY
        else:
            yield from batches_of(self._bound)
        if not few and not self.to_come:
            self._begin_rest()

    def rest(self) -> Iterator[SocketBatch]:
        """Those that the kernel keeps in little memory, where there are many; it tells of them in the time
        since sockets() has ended. Raises NetlinkError, also half way; when called again, it asks anew."""
        number = 0
        try:
            for batch in self._rest:
                number += len(batch.keys)
                yield batch
        except NetlinkError:
            # Without it the whole reading is of no use: the next one begins with all that there is.
            self._bound_again_at = 0.0
            self._rest = self._dump(_SMALL)
            raise
        self._number = (self._number or 0) + number

    def listeners(self) -> list[Listener]:
        """All listening TCP sockets. Raises NetlinkError."""
        return [
            listener
            for request in self._requests(_LISTENING)
            for listener in decoder.listeners(self._transport.exchange(request), self._runs)
        ]

    def half_closed(self) -> list[CloseWaitSocket]:
        """The connections in CLOSE_WAIT of the last sockets(), with queues and ages; where that failed,
        those there are now. Raises NetlinkError."""
        if self._close_wait is None:
            return self._half_closed.read()
        tcp = self._last_heard.complete(self._close_wait, self._number or 0)
        return merged(tcp, self._half_closed.mptcp())

    def probe(self) -> None:
        """Raises NetlinkError where this kernel, container or sandbox refuses sock_diag."""
        try:
            while_busy(self.listeners)
        except NetlinkError as failure:
            if not not_offered(failure) or not self._one_request:
                raise
            self._one_request = False
            self.listeners()

    def _begin_rest(self) -> None:
        self._rest, self.to_come = self._dump(_SMALL, at_once=True), _IN_SMALL

    def _dump(self, states: int, *, at_once: bool = False) -> Iterator[SocketBatch]:
        answers = [self._transport.exchange(request, at_once=at_once) for request in self._requests(states)]
        if at_once:
            answers = list(map(_begun, answers))
        return chain.from_iterable(decoder.batches(answer, self._runs) for answer in answers)

    def _requests(self, states: int) -> list[bytes]:
        if self._one_request:
            return [request_both_families(states)]
        return [request_one_family(family, states) for family in (AF_INET, AF_INET6)]


def _begun(answer: Iterator[bytes]) -> Iterator[bytes]:
    """The same answer, being given from now on."""
    first = next(answer)
    return chain([first], answer)


def _rows(batch: SocketBatch) -> KernelRows:
    return cast(KernelRows, batch.rows_at(range(len(batch.keys))))  # sockdiag's batches have no others
