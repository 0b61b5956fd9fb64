"""Causes and ages of connections in CLOSE_WAIT.

The kernel does not record when a socket entered CLOSE_WAIT, but tcp_info's last_ack_recv nearly always equals
that time: the FIN is the last segment that the peer sends, and like every segment that reaches tcp_ack()
(net/ipv4/tcp_input.c) it sets the time of the last ACK. Whatever comes later only makes that time later, so
the age is never too high. It is not refreshed when the local program reads, nor by the peer's keepalive
probes, whose sequence number lies before the window (tcp_validate_incoming() answers and drops them).
It is refreshed, and the age is then too low, by

- replies to our own keepalive probes (idiag_timer 2), every tcp_keepalive_intvl;
- ACKs of data sent in CLOSE_WAIT, which a half-closed connection may do for a long time;
- retransmissions of the FIN while our ACK does not reach the peer: for some minutes at most.

The ages of previous collections correct for these. They are lost when the exporter restarts: until the
sockets have been in CLOSE_WAIT for longer than the exporter has run, the age is a lower bound.

last_data_recv is an upper bound, since no data follow the FIN. It is not used to lower an age: as both bounds
hold, that would only happen when it wraps after 2**32 ms (49.7 days) and an old socket suddenly seemed young.
After that time only the previous ages are right.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence

from ..model.close_wait import Cause, ClassifiedCloseWait
from ..model.groups import SocketGroup
from ..model.sockets import NO_OWNER_KEY, CloseWaitSocket, Socket, fast_maker
from .classifier import Classifier


def cause_of(close_wait: CloseWaitSocket) -> Cause:
    """Return what the local program has not done yet.

    An owner key is missing only in the accept queue: closing a socket in CLOSE_WAIT would end that state.
    MPTCP does not count an unread FIN, and neither does TCP if the FIN was merged with the last data: the
    program may then not know yet that the peer has closed. A source without queue lengths has no owner keys
    either, or they are hidden.
    """
    if close_wait.receive_queue is None or close_wait.send_queue is None:
        return Cause.UNKNOWN
    if close_wait.socket.owner_key == NO_OWNER_KEY:
        return Cause.NOT_ACCEPTED
    if close_wait.send_queue > 0:
        return Cause.SENDING
    return Cause.NOT_READ if close_wait.receive_queue > 0 else Cause.NOT_CLOSED


_classified = fast_maker(ClassifiedCloseWait)


def classify_close_wait(
    aged: Sequence[tuple[CloseWaitSocket, float]],
    previous: Iterable[SocketGroup | None],
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
    return list(map(_classified, zip(halves, groups, map(cause_of, halves), ages, strict=True)))


class AgeTracker:
    """Ages of sockets in CLOSE_WAIT, from tcp_info and from previous collections.

    Remembers for each socket of the last collection the earliest time at which it was known to be in
    CLOSE_WAIT. The age therefore grows at least by the time that passes: a refreshed last_ack_recv does not
    lower it.
    """

    def __init__(self) -> None:
        self._since: dict[Hashable, float] = {}

    def update(self, sockets: Sequence[CloseWaitSocket], now: float) -> list[float]:
        """Return the age of each socket in seconds: a lower bound, and exact except as described above.

        sockets: all that exist; any other socket is forgotten.
        now: seconds of a clock that never steps, taken after the sockets were read. Taken before, ages would
        be too
            high by the duration of the read.
        """
        keys = [each.socket.cookie or _four_tuple(each.socket) for each in sockets]
        kernel_starts = [now - (each.seconds_since_ack or 0.0) for each in sockets]
        starts = list(map(min, kernel_starts, map(self._since.get, keys, kernel_starts)))
        self._since = dict(zip(keys, starts, strict=True))
        return [now - start for start in starts]

    def __len__(self) -> int:
        return len(self._since)


def _four_tuple(socket: Socket) -> Hashable:
    """Return the addresses and ports, which replace the cookie if the source has none.

    A connection that replaced another with the same addresses and ports between two collections, and is in
    CLOSE_WAIT already, is taken for it.
    """
    return socket[1:5]
