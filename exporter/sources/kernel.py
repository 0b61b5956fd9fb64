"""The sockets of the exporter's network namespace, straight from the Linux kernel."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Final

from ..model import LISTEN, Batch, HalfClosed, Listener
from . import sockdiag
from .half_closed import HalfClosedSource
from .netlink import AF_INET, AF_INET6, Transport, not_offered, request_both_families, request_one_family
from .netlink import NetlinkError as NetlinkError

_LISTENING: Final = 1 << LISTEN
_CONNECTED: Final = 0xFFE & ~_LISTENING
# Bound, but neither listening nor connected: Linux' only sockets in CLOSE. The kernel has them in
# a table of their own since 6.8 (commit 91051f003948) and older ones ignore the bit.
_BOUND: Final = 1 << 13

# The table of bound sockets holds every connected one too: with 72,000 of them a look takes 40 ms.
# A dear look is repeated only so often, in seconds.
BOUND_EVERY: Final = 60.0
_DEAR: Final = 0.005


class KernelSource:
    """Reads `sock_diag`. Ask for sockets() first, then for listeners(): a listener that accepted
    one of the sockets is then among the listeners, however young it is."""

    name: Final = "netlink"

    def __init__(
        self, transport: Transport | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._transport = transport or Transport()
        self._clock = clock
        self._one_walk = True
        self._half_closed = HalfClosedSource(self._transport)
        self._bound: list[Batch] = []
        self._bound_again_at = 0.0

    def sockets(self) -> Iterator[Batch]:
        """All TCP sockets but listeners. Raises NetlinkError, also half way."""
        yield from self._dump(_CONNECTED)
        yield from self._bound_sockets()

    def listeners(self) -> list[Listener]:
        """All listening TCP sockets. Raises NetlinkError."""
        return [
            listener
            for request in self._requests(_LISTENING)
            for listener in sockdiag.listeners(self._transport.exchange(request))
        ]

    def half_closed(self) -> list[HalfClosed]:
        """The connections in CLOSE_WAIT, with queues and ages. Raises NetlinkError."""
        return self._half_closed.read()

    def probe(self) -> None:
        """Raises NetlinkError where this kernel, container or sandbox refuses sock_diag."""
        try:
            self.listeners()
        except NetlinkError as failure:
            if not not_offered(failure) or not self._one_walk:
                raise
            self._one_walk = False
            self.listeners()

    def _dump(self, states: int) -> Iterator[Batch]:
        for request in self._requests(states):
            yield from sockdiag.batches(self._transport.exchange(request))

    def _requests(self, states: int) -> list[bytes]:
        if self._one_walk:
            return [request_both_families(states)]
        return [request_one_family(family, states) for family in (AF_INET, AF_INET6)]

    def _bound_sockets(self) -> list[Batch]:
        started = self._clock()
        if started >= self._bound_again_at:
            self._bound = list(self._dump(_BOUND))
            finished = self._clock()
            self._bound_again_at = finished + BOUND_EVERY if finished - started > _DEAR else 0.0
        return self._bound
