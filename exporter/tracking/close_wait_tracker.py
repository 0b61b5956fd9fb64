"""Causes and ages of connections in CLOSE_WAIT.

The kernel does not record when a socket entered CLOSE_WAIT, but tcp_info's last_ack_recv nearly always equals
the time since then: the FIN is the last segment that the peer sends, and like every segment that reaches
tcp_ack() (net/ipv4/tcp_input.c) it sets the time of the last ACK. A later segment sets a later time: the age
may be too low, but never too high. The time is not refreshed when the local process reads, nor by the peer's
keepalive probes, whose sequence number is before the window (tcp_validate_incoming() answers and drops them).
It is refreshed, and the age is then too low, by

- replies to the local side's keepalive probes (idiag_timer 2), every tcp_keepalive_intvl;
- ACKs of data that the local side sends in CLOSE_WAIT, possibly for a long time;
- retransmissions of the FIN while the local side's ACK does not reach the peer, for a few minutes at most.

The ages of previous collections correct this. They are lost when the exporter restarts: the age of a socket
that was in CLOSE_WAIT before is a lower bound.

last_data_recv is an upper bound, since no data follow the FIN. It is not used to lower an age: since both
bounds hold, it would do so only when it wraps after 2**32 ms (49.7 days), and an old socket would seem young.
Beyond that age only the ages of previous collections are correct.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from typing import Final

from ..model.close_wait import Cause, ClassifiedCloseWait
from ..model.groups import SocketGroup
from ..model.sockets import NO_OWNER_KEY, CloseWaitSocket, Socket, fast_maker
from .classifier import Classifier

SENDING_SECONDS: Final = 300.0
"""Time without sending after which a half-closed connection whose queues are empty is no longer `sending`. It
is the default of the alerts' threshold of the age: a leak after a late response is reported, only later."""
_SENT_MARGIN_SECONDS: Final = 1.0
"""Exceeds the kernel's rounding (jiffies of 10 ms at most) and the time that a read takes."""


def cause_of(close_wait: CloseWaitSocket, age_seconds: float) -> Cause:
    """Return what the local process has not done yet.

    age_seconds: lower bound of the time in CLOSE_WAIT, as AgeTracker.update() returns it.

    A connection that has sent since the FIN, and recently, is in use in one direction, although its send
    queue is empty at the moment. It certainly has if the time since the last send is less than the age.

    - A response sent just before the FIN is never taken for one sent after it: the FIN sets last_ack_recv,
      and the age starts there at the earliest.
    - In the first collection that has the socket, the two look alike: the ACK of data sent after the FIN sets
      last_ack_recv as well, and the age starts after the send. Later collections keep that start, and see
      what was sent after it.
    - A program that still computes its response has not sent: it has the cause of a leak.
    - A program that sent its response after the FIN, and leaks, has the cause `sending` for SENDING_SECONDS.
      So has one whose response was retransmitted after the FIN, which sets the time of the last send
      (tcp_event_data_sent() in net/ipv4/tcp_output.c). Keepalive probes do not.

    A socket in CLOSE_WAIT without an owner key is in the accept queue: closing it would end the state. MPTCP
    does not count an unread FIN, nor does TCP if the FIN was merged with the last data: with an empty queue
    the process possibly does not know yet that the peer has closed. For a source without queue lengths the
    missing owner key means nothing.
    """
    if close_wait.receive_queue_bytes is None or close_wait.send_queue_bytes is None:
        return Cause.UNKNOWN
    if close_wait.socket.owner_key == NO_OWNER_KEY:
        return Cause.NOT_ACCEPTED
    if close_wait.send_queue_bytes > 0 or _has_sent_since_fin(close_wait.seconds_since_sent, age_seconds):
        return Cause.SENDING
    return Cause.NOT_READ if close_wait.receive_queue_bytes > 0 else Cause.NOT_CLOSED


def _has_sent_since_fin(seconds_since_sent: float | None, age_seconds: float) -> bool:
    return (
        seconds_since_sent is not None
        and seconds_since_sent < SENDING_SECONDS
        and seconds_since_sent + _SENT_MARGIN_SECONDS < age_seconds
    )


_classified = fast_maker(ClassifiedCloseWait)


def classify_close_wait(
    sockets_with_ages: Sequence[tuple[CloseWaitSocket, float]],
    previous: Iterable[SocketGroup | None],
    classify: Classifier,
    *,
    counted: bool,
) -> list[ClassifiedCloseWait]:
    """Return the connections in CLOSE_WAIT with their groups, causes and ages.

    sockets_with_ages: the connections, and their ages in seconds.
    previous: group in which each was last counted; None if it never was, as MPTCP connections.
    counted: whether that was in this collection: a previous group in CLOSE_WAIT is then the present one.
    """
    sockets = [sock for sock, _ in sockets_with_ages]
    groups = [
        group if counted and group and group.state == sock.socket.state else classify(sock.socket, group)
        for sock, group in zip(sockets, previous, strict=True)
    ]
    ages = [age for _, age in sockets_with_ages]
    return list(map(_classified, zip(sockets, groups, map(cause_of, sockets, ages), ages, strict=True)))


class AgeTracker:
    """Tracks the ages of sockets in CLOSE_WAIT, from tcp_info and from previous collections.

    Keeps for each socket the earliest time at which it was known to be in CLOSE_WAIT: a refreshed
    last_ack_recv does not lower the age.
    """

    def __init__(self) -> None:
        self._since: dict[Hashable, float] = {}

    def update(self, sockets: Sequence[CloseWaitSocket], now: float) -> list[float]:
        """Return the age of each socket in seconds: a lower bound, mostly exact (see this module).

        sockets: all sockets in CLOSE_WAIT; any other one is forgotten.
        now: seconds of a monotonic clock, taken after the sockets were read. Taken before, ages would be too
            high by the duration of the read.
        """
        keys = [sock.socket.cookie or _four_tuple(sock.socket) for sock in sockets]
        kernel_starts = [now - (sock.seconds_since_ack or 0.0) for sock in sockets]
        starts = list(map(min, kernel_starts, map(self._since.get, keys, kernel_starts)))
        self._since = dict(zip(keys, starts, strict=True))
        return [now - start for start in starts]

    def __len__(self) -> int:
        return len(self._since)


def _four_tuple(socket: Socket) -> Hashable:
    """Return addresses and ports, which identify the socket if the source has no cookies.

    If a connection ends between two collections, and a new one with the same addresses and ports is already
    in CLOSE_WAIT, the new one gets the age of the old one.
    """
    return socket[1:5]
