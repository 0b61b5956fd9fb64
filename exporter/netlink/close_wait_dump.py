"""Sockets in CLOSE_WAIT with their queues and times, TCP and MPTCP.

The times are in INET_DIAG_INFO: struct tcp_info, or struct mptcp_info for MPTCP
(include/uapi/linux/{tcp,mptcp}.h; filled by tcp_get_info in net/ipv4/tcp.c and mptcp_diag_fill_info in
net/mptcp/sockopt.c). Both grow from kernel to kernel, so only fields that the attribute is long enough for
are read.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterable, Iterator
from typing import Any, Final

from ..model.sockets import CLOSE_WAIT, CloseWaitSocket, Socket
from .decoder import SizeSorter
from .inet_diag import read_address
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

_STATES: Final = 1 << CLOSE_WAIT
_INET_DIAG_INFO: Final = 2
INFO_EXTENSION: Final = 1 << _INET_DIAG_INFO - 1
"""Extension mask that requests INET_DIAG_INFO."""

# struct nlmsghdr and struct inet_diag_msg; the attributes follow.
_FIXED: Final = "=16xBBBxHH16s16s4xII4xII4xI"
_FIXED_SIZE: Final = struct.calcsize(_FIXED)
_ATTRIBUTE: Final = struct.Struct("=HH")

# ..._last_data_sent, ..._last_data_recv and ..._last_ack_recv in milliseconds, and their offset.
# In struct tcp_info tcpi_last_ack_sent, which is always 0, comes between the first two.
_TCP_TIMES: Final = struct.Struct("=I4xII"), 44
_MPTCP_TIMES: Final = struct.Struct("=III"), 84

# mptcpi_flags, mptcpi_write_seq and mptcpi_snd_una.
_MPTCP: Final = struct.Struct("=8xI4xQQ")
_MPTCP_FALLBACK_FLAG: Final = 1


class CloseWaitReader:
    """Dumps the sockets in CLOSE_WAIT. Remembers which requests the kernel does not support.

    A dump costs one walk of the kernel's socket table (net/ipv4/inet_diag.c), and the time for these sockets.
    """

    def __init__(self, client: SockDiagClient | None = None) -> None:
        self._client = client or SockDiagClient()
        self._compat_request = True
        self._has_mptcp = True

    def read(self) -> list[CloseWaitSocket]:
        """Return all TCP and MPTCP sockets in CLOSE_WAIT. Raises NetlinkError."""
        return merge_mptcp(self.read_tcp(), self.read_mptcp())

    def read_tcp(self) -> list[CloseWaitSocket]:
        """Return all TCP sockets in CLOSE_WAIT. Raises NetlinkError."""
        if self._compat_request:
            try:
                return self._dump([dump_request_compat(_STATES, INFO_EXTENSION)])
            except NetlinkError as error:
                if not is_unsupported(error):
                    raise
                self._compat_request = False
        return self._dump([dump_request(family, _STATES, INFO_EXTENSION) for family in (AF_INET, AF_INET6)])

    def read_mptcp(self) -> list[CloseWaitSocket]:
        """Return all MPTCP sockets in CLOSE_WAIT; none if the kernel has no MPTCP. Raises NetlinkError."""
        if not self._has_mptcp:
            return []
        try:
            # One request for each family: AF_UNSPEC has no handler (__sock_diag_cmd).
            requests = [mptcp_dump_request(family, _STATES, INFO_EXTENSION) for family in (AF_INET, AF_INET6)]
            return self._dump(requests, mptcp=True)
        except NetlinkError as error:
            if not is_unsupported(error):
                raise
            self._has_mptcp = False
            return []

    def _dump(self, requests: Iterable[bytes], *, mptcp: bool = False) -> list[CloseWaitSocket]:
        parse = parse_mptcp if mptcp else parse_tcp
        return [sock for request in requests for sock in parse(self._client.dump(request))]


def merge_mptcp(tcp: list[CloseWaitSocket], mptcp: Iterable[CloseWaitSocket]) -> list[CloseWaitSocket]:
    """Return the sockets of both tables, each connection once.

    A connection that fell back to TCP is in both. Its TCP socket has the correct times and the data in
    flight. Received data move to the MPTCP socket (mptcp_data_ready), and written data stay there until the
    subflow takes them.
    """
    # Keyed by addresses, ports and inode, which subflows share with their connection.
    mptcp_only = {sock.socket[1:6]: sock for sock in mptcp}
    if not mptcp_only:
        return tcp
    merged = [_merge_pair(sock, mptcp_only.pop(sock.socket[1:6], None)) for sock in tcp]
    return merged + list(mptcp_only.values())


def _merge_pair(tcp: CloseWaitSocket, mptcp: CloseWaitSocket | None) -> CloseWaitSocket:
    if mptcp is None:
        return tcp
    return tcp._replace(
        receive_queue_bytes=(tcp.receive_queue_bytes or 0) + (mptcp.receive_queue_bytes or 0),
        send_queue_bytes=(tcp.send_queue_bytes or 0) + (mptcp.send_queue_bytes or 0),
        mptcp=True,
    )


def parse_tcp(data: Iterable[bytes]) -> Iterator[CloseWaitSocket]:
    """Yield the sockets of a TCP dump, given its raw messages up to NLMSG_DONE.

    Raises NetlinkError for an error message, for truncated or malformed data, and if NLMSG_DONE is missing.
    """
    for sock, _ in _parse(_iter_rows(data), _TCP_TIMES, mptcp=False):
        yield sock


def parse_replies(replies: Iterable[bytes]) -> Iterator[CloseWaitSocket]:
    """Yield the TCP sockets of replies to get requests. Raises NetlinkError as parse_tcp() does."""
    sorter = SizeSorter()
    rows = (row for reply in replies for row in _iter_fields(sorter.group_by_size(reply)[0]))
    for sock, _ in _parse(rows, _TCP_TIMES, mptcp=False):
        yield sock


def parse_mptcp(data: Iterable[bytes]) -> Iterator[CloseWaitSocket]:
    """Yield the sockets of an MPTCP dump. Argument and errors as for parse_tcp().

    idiag_wqueue of MPTCP is always 0 (sk_wmem_alloc, which it does not use): the number of unacknowledged
    bytes is the difference of two sequence numbers. After a fallback to TCP no ACK refreshes last_ack_recv
    (mptcp_incoming_options): it is then not a lower bound.
    """
    for sock, info in _parse(_iter_rows(data), _MPTCP_TIMES, mptcp=True):
        if len(info) < _MPTCP.size:
            yield sock
            continue
        flags, written, acknowledged = _MPTCP.unpack_from(info)
        yield sock._replace(
            # Possibly negative: the kernel reads the two numbers one after the other, without a lock.
            send_queue_bytes=max(written - acknowledged, 0),
            seconds_since_ack=None if flags & _MPTCP_FALLBACK_FLAG else sock.seconds_since_ack,
        )


def _parse(
    rows: Iterable[tuple[Any, ...]], times: tuple[struct.Struct, int], *, mptcp: bool
) -> Iterator[tuple[CloseWaitSocket, bytes]]:
    """Yield the sockets, each with its INET_DIAG_INFO if `mptcp`, else with an empty string."""
    make_socket, make_close_wait = Socket._make, CloseWaitSocket._make
    times_struct, times_offset = times
    ntohs, unpack_times = socket.ntohs, times_struct.unpack_from
    times_end = times_offset + times_struct.size
    # Bytes before the payload of INET_DIAG_INFO, including its header -> size of the payload. Nearly all
    # messages of a dump have the same bytes there: one exact lookup replaces a walk over the attributes.
    size_by_prefix: dict[bytes, int] = {}
    offset = 0
    since_data: float | None
    since_ack: float | None
    since_sent: float | None
    # One loop without function calls: there can be tens of thousands of these sockets.
    for (
        family,
        state,
        timer,
        local_port,
        remote_port,
        local,
        remote,
        cookie_low,
        cookie_high,
        receive_queue_bytes,
        send_queue_bytes,
        owner_key,
        attributes,
    ) in rows:
        if state != CLOSE_WAIT:
            continue  # The state changed between the kernel's filter and its reply.
        if family == AF_INET:
            local, remote = local[:4], remote[:4]
        else:
            local, remote = read_address(family, local), read_address(family, remote)
        size = size_by_prefix.get(attributes[:offset])
        if size is None or offset + size > len(attributes):
            offset, size = _find_attribute(attributes)
            if size:
                size_by_prefix[attributes[:offset]] = size
        since_sent = since_data = since_ack = None
        if size >= times_end:
            sent_ms, data_ms, ack_ms = unpack_times(attributes, offset + times_offset)
            since_sent, since_data, since_ack = sent_ms / 1000, data_ms / 1000, ack_ms / 1000
        cookie = cookie_high << 32 | cookie_low
        sock = make_socket((state, local, ntohs(local_port), remote, ntohs(remote_port), owner_key, cookie))
        yield (
            make_close_wait(
                (
                    sock,
                    receive_queue_bytes,
                    send_queue_bytes,
                    timer,
                    since_ack,
                    since_data,
                    since_sent,
                    mptcp,
                    None,
                )
            ),
            attributes[offset : offset + size] if mptcp else b"",
        )


def _iter_rows(data: Iterable[bytes]) -> Iterator[tuple[Any, ...]]:
    """Yield the fields of _FIXED, and the attributes as bytes, of each message."""
    sorter = SizeSorter()
    for received in data:
        groups, done = sorter.group_by_size(received)
        yield from _iter_fields(groups)
        if done:
            return
    raise NetlinkError("sock_diag: the reply ended without NLMSG_DONE")


def _iter_fields(groups: dict[int, bytes]) -> Iterator[tuple[Any, ...]]:
    for size, messages in groups.items():
        yield from struct.iter_unpack(f"{_FIXED}{size - _FIXED_SIZE}s", messages)


def _find_attribute(attributes: bytes) -> tuple[int, int]:
    """Return offset and size of the payload of INET_DIAG_INFO; (0, 0) if there is none."""
    position = 0
    while position < len(attributes):
        if len(attributes) - position < _ATTRIBUTE.size:
            raise NetlinkError("sock_diag: truncated attribute")
        size, attribute_type = _ATTRIBUTE.unpack_from(attributes, position)
        if size < _ATTRIBUTE.size or position + size > len(attributes):
            raise NetlinkError(f"sock_diag: malformed attribute of {size} bytes")
        if attribute_type == _INET_DIAG_INFO:
            return position + _ATTRIBUTE.size, size - _ATTRIBUTE.size
        position += size + 3 & ~3
    return 0, 0
