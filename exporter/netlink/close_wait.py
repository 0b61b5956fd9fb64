"""The sockets in CLOSE_WAIT with their queues and ages, TCP and MPTCP, straight from the Linux kernel.

The ages are in INET_DIAG_INFO: struct tcp_info, or struct mptcp_info for MPTCP (include/uapi/linux/
{tcp,mptcp}.h; filled by tcp_get_info in net/ipv4/tcp.c and mptcp_diag_fill_info in net/mptcp/sockopt.c).
Both grow from kernel to kernel, so that only what an attribute is long enough for is read.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterable, Iterator
from typing import Any, Final

from ..model.sockets import CLOSE_WAIT, CloseWaitSocket, Socket
from .decoder import Runs
from .messages import address
from .transport import (
    AF_INET,
    AF_INET6,
    NetlinkError,
    Transport,
    not_offered,
    request_both_families,
    request_mptcp,
    request_one_family,
)

_STATES: Final = 1 << CLOSE_WAIT
_INFO: Final = 2
WITH_INFO: Final = 1 << _INFO - 1
"""The extension to ask for."""

# struct nlmsghdr and struct inet_diag_msg; behind them, the attributes.
_FIXED: Final = "=16xBBBxHH16s16s4xII4xII4xI"
_FIXED_SIZE: Final = struct.calcsize(_FIXED)
_ATTRIBUTE: Final = struct.Struct("=HH")

# ..._last_data_recv and ..._last_ack_recv, milliseconds: neighbours in either structure.
_AGES: Final = struct.Struct("=II")
_AGES_IN_TCP: Final = 52
_AGES_IN_MPTCP: Final = 88

# mptcpi_flags, mptcpi_write_seq and mptcpi_snd_una.
_MPTCP: Final = struct.Struct("=8xI4xQQ")
_FELL_BACK: Final = 1


class HalfClosedSource:
    """Reads `sock_diag`, asking for CLOSE_WAIT only: its cost is that of these sockets, plus a walk
    over the kernel's table (net/ipv4/inet_diag.c). Remembers what this kernel does not offer."""

    def __init__(self, transport: Transport | None = None) -> None:
        self._transport = transport or Transport()
        self._one_walk = True
        self._mptcp = True

    def read(self) -> list[CloseWaitSocket]:
        """All TCP and MPTCP sockets in CLOSE_WAIT. Raises NetlinkError."""
        return merged(self.tcp(), self.mptcp())

    def tcp(self) -> list[CloseWaitSocket]:
        """All TCP sockets in CLOSE_WAIT. Raises NetlinkError."""
        if self._one_walk:
            try:
                return self._dump([request_both_families(_STATES, WITH_INFO)])
            except NetlinkError as failure:
                if not not_offered(failure):
                    raise
                self._one_walk = False
        return self._dump([request_one_family(family, _STATES, WITH_INFO) for family in (AF_INET, AF_INET6)])

    def mptcp(self) -> list[CloseWaitSocket]:
        """All MPTCP sockets in CLOSE_WAIT; none where the kernel knows no MPTCP. Raises NetlinkError."""
        if not self._mptcp:
            return []
        try:
            # No kernel gives both families at once here: AF_UNSPEC has no handler (__sock_diag_cmd).
            requests = [request_mptcp(family, _STATES, WITH_INFO) for family in (AF_INET, AF_INET6)]
            return self._dump(requests, mptcp=True)
        except NetlinkError as failure:
            if not not_offered(failure):
                raise
            self._mptcp = False
            return []

    def _dump(self, requests: Iterable[bytes], *, mptcp: bool = False) -> list[CloseWaitSocket]:
        parse = parse_mptcp if mptcp else parse_tcp
        return [half for request in requests for half in parse(self._transport.exchange(request))]


def merged(tcp: list[CloseWaitSocket], mptcp: Iterable[CloseWaitSocket]) -> list[CloseWaitSocket]:
    """Both tables as one, each connection once.

    A connection that fell back to TCP is in both. TCP's row then has the true ages and what is on its
    way to the peer; but data move to the MPTCP socket as they come (mptcp_data_ready), so that what
    the program has not read is there, and what it has written too, until the subflow takes it.
    """
    # By addresses, ports and inode, which the subflows share with their connection.
    only = {one.socket[1:6]: one for one in mptcp}
    if not only:
        return tcp
    both = [_combined(one, only.pop(one.socket[1:6], None)) for one in tcp]
    return both + list(only.values())


def _combined(tcp: CloseWaitSocket, mptcp: CloseWaitSocket | None) -> CloseWaitSocket:
    if mptcp is None:
        return tcp
    return tcp._replace(
        receive_queue=(tcp.receive_queue or 0) + (mptcp.receive_queue or 0),
        send_queue=(tcp.send_queue or 0) + (mptcp.send_queue or 0),
        mptcp=True,
    )


def parse_tcp(messages: Iterable[bytes]) -> Iterator[CloseWaitSocket]:
    """The sockets of a whole TCP dump, from its raw batches up to NLMSG_DONE.

    Raises NetlinkError for an error message, for truncated or garbled batches, and without NLMSG_DONE.
    """
    for half, _ in _parse(_rows(messages), _AGES_IN_TCP, mptcp=False):
        yield half


def parse_answers(answers: Iterable[bytes]) -> Iterator[CloseWaitSocket]:
    """The TCP sockets that were asked for one by one. Raises NetlinkError as parse_tcp does."""
    runs = Runs()
    rows = (row for answer in answers for row in _fields(runs.split(answer)[0]))
    for half, _ in _parse(rows, _AGES_IN_TCP, mptcp=False):
        yield half


def parse_mptcp(messages: Iterable[bytes]) -> Iterator[CloseWaitSocket]:
    """The sockets of a whole MPTCP dump. Raises NetlinkError as parse_tcp does.

    idiag_wqueue is always 0 there (sk_wmem_alloc, which MPTCP does not use): what is not acknowledged
    lies between two sequence numbers. After a fallback to TCP no ACK refreshes last_ack_recv
    (mptcp_incoming_options): it is then no lower bound.
    """
    for half, info in _parse(_rows(messages), _AGES_IN_MPTCP, mptcp=True):
        if len(info) < _MPTCP.size:
            yield half
            continue
        flags, written, acknowledged = _MPTCP.unpack_from(info)
        yield half._replace(
            # They are read one after the other, without a lock.
            send_queue=max(written - acknowledged, 0),
            seconds_since_ack=None if flags & _FELL_BACK else half.seconds_since_ack,
        )


def _parse(
    rows: Iterable[tuple[Any, ...]], ages_at: int, *, mptcp: bool
) -> Iterator[tuple[CloseWaitSocket, bytes]]:
    """The sockets; each with its INET_DIAG_INFO if `mptcp`, else with nothing."""
    make_socket, make_half = Socket._make, CloseWaitSocket._make
    ntohs, unpack_ages = socket.ntohs, _AGES.unpack_from
    ages_end = ages_at + _AGES.size
    # What stands before an INET_DIAG_INFO, its own header included -> its size. Nearly all messages
    # of a dump have the same there: one look replaces a walk over attributes, and is as exact.
    walked: dict[bytes, int] = {}
    at = 0
    seconds_since_data: float | None
    seconds_since_ack: float | None
    # One flat loop: tens of thousands of these sockets are what this program is for.
    for (
        family,
        state,
        timer,
        local_port,
        remote_port,
        local,
        remote,
        low,
        high,
        receive_queue,
        send_queue,
        owner_key,
        attributes,
    ) in rows:
        if state != CLOSE_WAIT:
            continue  # It went on between the kernel's check and its answer.
        if family == AF_INET:
            local, remote = local[:4], remote[:4]
        else:
            local, remote = address(family, local), address(family, remote)
        size = walked.get(attributes[:at])
        if size is None or at + size > len(attributes):
            at, size = _find_info(attributes)
            if size:
                walked[attributes[:at]] = size
        seconds_since_data = seconds_since_ack = None
        if size >= ages_end:
            data_age, ack_age = unpack_ages(attributes, at + ages_at)
            seconds_since_data, seconds_since_ack = data_age / 1000, ack_age / 1000
        one = make_socket(
            (state, local, ntohs(local_port), remote, ntohs(remote_port), owner_key, high << 32 | low)
        )
        half = make_half(
            (one, receive_queue, send_queue, timer, seconds_since_ack, seconds_since_data, mptcp)
        )
        yield half, attributes[at : at + size] if mptcp else b""


def _rows(messages: Iterable[bytes]) -> Iterator[tuple[Any, ...]]:
    """The fields of _FIXED and the bytes of the attributes, message by message."""
    runs = Runs()
    for data in messages:
        found, done = runs.split(data)
        yield from _fields(found)
        if done:
            return
    raise NetlinkError("sock_diag: the answer ended without NLMSG_DONE")


def _fields(runs: dict[int, bytes]) -> Iterator[tuple[Any, ...]]:
    for size, run in runs.items():
        yield from struct.iter_unpack(f"{_FIXED}{size - _FIXED_SIZE}s", run)


def _find_info(attributes: bytes) -> tuple[int, int]:
    """Where the payload of INET_DIAG_INFO begins and its size; nothing, if there is none."""
    position = 0
    while position < len(attributes):
        if len(attributes) - position < _ATTRIBUTE.size:
            raise NetlinkError("sock_diag: truncated attribute")
        size, kind = _ATTRIBUTE.unpack_from(attributes, position)
        if size < _ATTRIBUTE.size or position + size > len(attributes):
            raise NetlinkError(f"sock_diag: attribute of {size} bytes makes no sense")
        if kind == _INFO:
            return position + _ATTRIBUTE.size, size - _ATTRIBUTE.size
        position += size + 3 & ~3
    return 0, 0
