"""Decodes `sock_diag` dumps (struct inet_diag_msg), many messages at a time. Pure.

A dump mixes messages of a few sizes: minisocks (TIME_WAIT, SYN_RECV), full sockets, full sockets with another
attribute. They are grouped by size with one regular expression, which runs in C, and then read as columns
with strided slices (inet_diag.py): no Python code runs for a socket with a known key.
"""

from __future__ import annotations

import re
import struct
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Final

from ..model.sockets import Listener, SocketBatch
from .batches import split_by_keyspace
from .inet_diag import INET_DIAG_MSG_BYTES, InetDiagTable
from .transport import (
    HEADER,
    NLMSG_DONE,
    NLMSG_ERROR,
    SOCK_DIAG_BY_FAMILY,
    TCPDIAG_GETSOCK,
    NetlinkError,
)

# struct inet_diag_msg follows the 16 bytes of struct nlmsghdr.
_HEADER_SIZE: Final = HEADER.size
_MIN_SIZE: Final = _HEADER_SIZE + INET_DIAG_MSG_BYTES
_SIZE_AND_TYPE_BYTES: Final = 6
_SOCKET_TYPES: Final = (SOCK_DIAG_BY_FAMILY, TCPDIAG_GETSOCK)
# Matches the two bytes of both types, each byte as a class, which is faster than two alternatives and exact:
# the upper byte is always 0.
_TYPE_PATTERN: Final = b"[%b][%b]" % tuple(
    map(bytes, zip(*(struct.pack("=H", message_type) for message_type in _SOCKET_TYPES), strict=True))
)
_MAX_ERRNO: Final = 4095
# Messages of one size are joined until they have this size, since decoding has a fixed cost for each piece.
_MIN_JOIN_BYTES: Final = 1 << 16
# Maximum number of sizes in the pattern, each of which costs time. A kernel has a handful of sizes.
_MAX_SIZES: Final = 8


class SizeSorter:
    """Groups the messages of a dump by size, and remembers the sizes.

    Messages of an unknown size are parsed one by one in Python: an instance should be used for all dumps.
    """

    def __init__(self) -> None:
        self._sizes: list[int] = []
        self._pattern = re.compile(b"(?!)")

    def group_by_size(self, data: bytes) -> tuple[dict[int, bytes], bool]:
        """Return the socket messages joined by message size, and whether the dump is complete.

        Raises NetlinkError for an error message, and for truncated or malformed data.
        """
        size = _uniform_size(data)
        if size:
            return {size: data}, False
        groups = self._fast_path(data)
        if groups is not None:
            return groups, False
        return self._slow_path(data)

    def _fast_path(self, data: bytes) -> dict[int, bytes] | None:
        """Return the messages by size, or None if some are not socket messages of a known size."""
        found = self._pattern.findall(data)
        columns = zip(*found, strict=True) if len(self._sizes) > 1 else (found,)
        groups = {size: b"".join(pieces) for size, pieces in zip(self._sizes, columns, strict=False)}
        if sum(map(len, groups.values())) != len(data):
            return None
        return {size: group for size, group in groups.items() if group}

    def _slow_path(self, data: bytes) -> tuple[dict[int, bytes], bool]:
        pieces: dict[int, list[bytes]] = {}
        for size, message_type, message in _iter_messages(data):
            if message_type in (NLMSG_DONE, NLMSG_ERROR):
                _raise_error_in(message)
                return self._join(pieces), True
            if message_type not in _SOCKET_TYPES or size < _MIN_SIZE:
                raise NetlinkError(f"sock_diag: malformed message of type {message_type} with {size} bytes")
            pieces.setdefault(size, []).append(message)
        return self._join(pieces), False

    def _join(self, pieces: dict[int, list[bytes]]) -> dict[int, bytes]:
        new_sizes = [size for size in pieces if size not in self._sizes]
        if new_sizes:
            self._sizes = [*self._sizes, *new_sizes][-_MAX_SIZES:]
            self._pattern = _pattern_for(self._sizes)
        return {size: b"".join(messages) for size, messages in pieces.items()}


def _uniform_size(data: bytes) -> int:
    """Return the size of each message if all are socket messages of one size, else 0.

    Most datagrams are. Comparing the headers as columns of bytes takes a tenth of the time of comparing them
    one by one.
    """
    if len(data) < _MIN_SIZE:
        return 0
    size, message_type, _, _, _ = HEADER.unpack_from(data)
    if message_type not in _SOCKET_TYPES or size < _MIN_SIZE or size % 4 or len(data) % size:
        return 0
    count = len(data) // size
    is_uniform = all(
        data[offset::size] == data[offset : offset + 1] * count for offset in range(_SIZE_AND_TYPE_BYTES)
    )
    return size if is_uniform else 0


def _pattern_for(sizes: Iterable[int]) -> re.Pattern[bytes]:
    """Return a pattern with one group for each size: consecutive socket messages of that size.

    The quantifiers are possessive, since no match needs backtracking: this saves a third of the time.
    """
    groups = (
        b"((?:%b%b.{%d}+)++)"
        % (re.escape(struct.pack("=I", size)), _TYPE_PATTERN, size - _SIZE_AND_TYPE_BYTES)
        for size in sizes
    )
    return re.compile(b"|".join(groups), re.DOTALL)


def _iter_messages(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Yield size, type and bytes of each message. Raises NetlinkError if the sizes do not add up."""
    position = 0
    while position < len(data):
        if len(data) - position < _HEADER_SIZE:
            raise NetlinkError(f"sock_diag: truncated: {len(data) - position} bytes left over")
        size, message_type, _, _, _ = HEADER.unpack_from(data, position)
        if size < _HEADER_SIZE or size % 4 or position + size > len(data):
            raise NetlinkError(
                f"sock_diag: truncated: a message of {size} bytes at {position} of {len(data)}"
            )
        yield size, message_type, data[position : position + size]
        position += size


def _raise_error_in(message: bytes) -> None:
    """Raise NetlinkError if NLMSG_ERROR or NLMSG_DONE carries an error: the dump failed, in part or whole."""
    if len(message) < _HEADER_SIZE + 4:
        raise NetlinkError("sock_diag: truncated end or error message")
    (code,) = struct.unpack_from("=i", message, _HEADER_SIZE)
    if not -_MAX_ERRNO <= code <= 0:
        raise NetlinkError(f"sock_diag: malformed error number {-code}")
    if code:
        raise NetlinkError.from_errno(-code, "reading sockets")


def decode_sockets(data: Iterable[bytes], sorter: SizeSorter | None = None) -> Iterator[SocketBatch]:
    """Yield the sockets of a dump, given its raw messages up to NLMSG_DONE.

    sorter: that of previous dumps, which knows the sizes.

    Raises NetlinkError as SizeSorter.group_by_size() does, and if NLMSG_DONE is missing.
    """
    for size, group in _iter_groups(data, sorter or SizeSorter()):
        yield from split_by_keyspace(InetDiagTable(group, size, _HEADER_SIZE))


def decode_listeners(data: Iterable[bytes], sorter: SizeSorter | None = None) -> list[Listener]:
    """Return the listeners of a dump. Arguments and errors as for decode_sockets().

    In LISTEN, the queue fields are the length and limit of the accept queue (tcp_diag_get_info).
    """
    tables = (
        InetDiagTable(group, size, _HEADER_SIZE) for size, group in _iter_groups(data, sorter or SizeSorter())
    )
    return [listener for table in tables for listener in _iter_listeners(table)]


def _iter_groups(data: Iterable[bytes], sorter: SizeSorter) -> Iterator[tuple[int, bytes]]:
    """Yield message size and joined messages of that size, mostly _MIN_JOIN_BYTES or more at a time."""
    pending: defaultdict[int, list[bytes]] = defaultdict(list)
    for received in data:
        groups, done = sorter.group_by_size(received)
        for size, group in groups.items():
            pending[size].append(group)
            if done or sum(map(len, pending[size])) >= _MIN_JOIN_BYTES:
                yield size, b"".join(pending.pop(size))
        if done:
            yield from ((size, b"".join(pieces)) for size, pieces in pending.items())
            return
    raise NetlinkError("sock_diag: the reply ended without NLMSG_DONE")


def _iter_listeners(table: InetDiagTable) -> Iterator[Listener]:
    for sock, length, limit in zip(table, *table.queues(), strict=True):
        yield Listener(sock.local_address, sock.local_port, sock.owner_key, length, limit)
