"""Why sockets stand in CLOSE_WAIT, and for how long. Pure.

The kernel keeps no time of the change to CLOSE_WAIT, but tcp_info's last_ack_recv is it nearly
always: the FIN is the last segment the peer sends, and like every segment that gets to tcp_ack()
(net/ipv4/tcp_input.c) it sets the time of the last ACK. What comes after it only makes that time later,
so that it never says too much. Neither our program's reading refreshes it nor the peer's keepalive
probes, whose sequence number lies before the window (tcp_validate_incoming answers and drops them).
It is refreshed, and says too little then, by

- the answers to our own keepalive probes (idiag_timer 2), every tcp_keepalive_intvl;
- the ACKs of data that we send in CLOSE_WAIT, which a half-closed connection may do for long;
- the FIN again, as long as our ACK does not get to the peer: for some minutes at most.

There the memory of earlier readings helps. After a restart of the exporter it is gone, and what is
known is a lower bound until the sockets have stood for longer than the exporter has run.

last_data_recv is an upper bound, as no data come after the FIN. It is not used to lower an age: both
bounds being true, it never would, but for its wrapping round after 2**32 ms (49.7 days), where an old
socket would suddenly be young. After that time the memory is the only witness.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Hashable, Iterable, Sequence
from math import fsum
from typing import Final, NamedTuple

from ..model import NO_HOLDER, Cause, ClassifiedCloseWait, Group, HalfClosed, Socket, made_from
from .classify import Classifier

BUCKETS: Final = (1, 10, 60, 300, 900, 3600, 14400)
"""Upper bounds of the buckets of ages, in seconds, each included. +Inf follows."""


def cause(half: HalfClosed) -> Cause:
    """What the local program has not done yet.

    not_accepted: accept() the connection, which is in the queue of its listener. Only there does a
    socket in CLOSE_WAIT have no inode: closing it would end the state. sending: send all, or rather
    the peer: acknowledge it. not_read: read the data or, in TCP, the FIN. not_closed: close(), all being
    read. MPTCP does not count the FIN, nor is it seen when it was read together with the last data: the
    program may then not know yet that the peer has closed. unknown: the source has no queue figures;
    it has no inodes then either, and no holder may mean that we must not see it.
    """
    if half.receive_queue is None or half.send_queue is None:
        return Cause.UNKNOWN
    if half.socket.holder == NO_HOLDER:
        return Cause.NOT_ACCEPTED
    if half.send_queue > 0:
        return Cause.SENDING
    return Cause.NOT_READ if half.receive_queue > 0 else Cause.NOT_CLOSED


_classified = made_from(ClassifiedCloseWait)


def classify_close_wait(
    aged: Sequence[tuple[HalfClosed, float]],
    previous: Iterable[Group | None],
    classify: Classifier,
    *,
    counted: bool,
) -> list[ClassifiedCloseWait]:
    """Return the connections in CLOSE_WAIT with their groups, causes and ages.

    aged: the connections with their ages in seconds.
    previous: the group that each was counted in when it was last seen, if it was.
    counted: whether that was in this collection, so that a group in CLOSE_WAIT is the one to return.
        MPTCP connections are not counted with the others.
    """
    halves = [half for half, _ in aged]
    groups = [
        group if counted and group and group.state == half.socket.state else classify(half.socket, group)
        for half, group in zip(halves, previous, strict=True)
    ]
    ages = (age for _, age in aged)
    return list(map(_classified, zip(halves, groups, map(cause, halves), ages, strict=True)))


class Ages:
    """How long sockets have been in CLOSE_WAIT: what the kernel says now, and what was seen before.

    Remembers of each socket of the last reading since when, at the latest, it has been in CLOSE_WAIT.
    So the age of a socket grows by the time that passes, at least: what refreshes last_ack_recv between
    two readings takes nothing away.
    """

    def __init__(self) -> None:
        self._since: dict[Hashable, float] = {}

    def ages(self, halves: Sequence[HalfClosed], now: float) -> list[float]:
        """The age of each socket in seconds: a lower bound, and exact as said above.

        `halves` are all there are: the others are forgotten. `now` is in seconds of a clock that
        never steps, taken after the reading; taken before, ages are too high by its duration.
        """
        keys = [half.socket.cookie or _pair(half.socket) for half in halves]
        told = [now - (half.since_ack or 0.0) for half in halves]
        starts = list(map(min, told, map(self._since.get, keys, told)))
        self._since = dict(zip(keys, starts, strict=True))
        return [now - start for start in starts]

    def __len__(self) -> int:
        """How many sockets it remembers."""
        return len(self._since)


def _pair(socket: Socket) -> Hashable:
    """What stands in for the cookie where the source has none. A connection that took the place of
    another between two readings, and is in CLOSE_WAIT already, is taken for it."""
    return socket[1:5]


class Histogram(NamedTuple):
    """Ages as a Prometheus histogram has them."""

    counts: tuple[int, ...]
    """Cumulative: how many are at most as old as each of BUCKETS, and at last how many there are."""
    total: float
    """Their sum in seconds."""


def histogram(ages: Iterable[float]) -> Histogram:
    """The ages, in seconds, by BUCKETS."""
    ordered = sorted(ages)
    counts = (*(bisect_right(ordered, bound) for bound in BUCKETS), len(ordered))
    return Histogram(counts, fsum(ordered))
