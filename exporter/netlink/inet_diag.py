"""Table of sockets as the kernel's struct inet_diag_msg (include/uapi/linux/inet_diag.h). Pure."""

from __future__ import annotations

import struct
import sys
from array import array
from collections.abc import Hashable, Iterable, Iterator, Sequence
from functools import cached_property, lru_cache, reduce
from operator import or_
from typing import Final, NamedTuple

from ..model.address import IPV4_MAPPED_PREFIX
from ..model.sockets import CLOSE, Socket, fast_maker
from .transport import AF_INET

INET_DIAG_MSG_BYTES: Final = 72
"""Size of struct inet_diag_msg, without the attributes that follow."""

_make_socket = fast_maker(Socket)

# Offsets in struct inet_diag_msg, in bytes.
_STATE: Final = 1
_TIMER: Final = 2
_LOCAL_PORT: Final = 4
_REMOTE_PORT: Final = 6
_COOKIE: Final = 44
_QUEUES: Final = (56, 60)
_INODE: Final = 68


def read_address(family: int, field: bytes) -> bytes:
    """Return the 4 or 16 bytes of the address in a field of 16 bytes; `::ffff:a.b.c.d` is IPv4."""
    if family == AF_INET:
        return field[:4]
    return field[12:] if field.startswith(IPV4_MAPPED_PREFIX) else field


class _Layouts(NamedTuple):
    """Layouts of messages of one size: some fields of each message."""

    socket: struct.Struct
    """Family, state, ports and addresses. Big-endian, like the ports."""
    inbound_signature: struct.Struct
    outbound_signature: struct.Struct
    local_endpoint: struct.Struct


@lru_cache(maxsize=64)
def _layouts(size: int, skip: int) -> _Layouts:
    def layout(order: str, fields: str) -> struct.Struct:
        padding = size - skip - struct.calcsize(f"={fields}")
        return struct.Struct(f"{order}{skip}x{fields}{padding}x")

    return _Layouts(
        layout(">", "BBxxHH16s16s"),
        layout("=", "2s2x2s2x16s"),
        layout("=", "2s4x34s"),
        layout(">", "B3xH2x16s"),
    )


class InetDiagTable:
    """SocketTable of raw messages of one size, which each iteration decodes.

    raw: the messages. size: bytes of each message. skip: bytes before its struct inet_diag_msg.
    """

    def __init__(self, raw: bytes, size: int = INET_DIAG_MSG_BYTES, skip: int = 0) -> None:
        self._raw = raw
        self._size = size
        self._skip = skip
        self._layouts = _layouts(size, skip)

    def __len__(self) -> int:
        return len(self._raw) // self._size

    def __iter__(self) -> Iterator[Socket]:
        # One loop without a function call for each socket.
        for (family, state, local_port, remote_port, local, remote), cookie, owner_key in zip(
            self._layouts.socket.iter_unpack(self._raw), self.cookies(), self.owner_keys(), strict=True
        ):
            if family == AF_INET:
                local, remote = local[:4], remote[:4]
            elif local[:12] == IPV4_MAPPED_PREFIX or remote[:12] == IPV4_MAPPED_PREFIX:
                local, remote = read_address(family, local), read_address(family, remote)
            yield _make_socket((state, local, local_port, remote, remote_port, owner_key, cookie))

    def select(self, positions: Sequence[int]) -> InetDiagTable:
        if positions == range(len(self)):
            return self
        return InetDiagTable(b"".join(self.messages(positions)))

    def concat(self, others: Iterable[InetDiagTable]) -> InetDiagTable:
        return join_tables([self, *others])

    def payloads(self) -> bytes:
        """Return the structures one after the other, without headers and attributes."""
        return self._raw if self._size == INET_DIAG_MSG_BYTES else b"".join(self.messages(range(len(self))))

    def messages(self, positions: Iterable[int]) -> list[bytes]:
        """Return the structures at these positions."""
        raw, size, skip, end = self._raw, self._size, self._skip, self._skip + INET_DIAG_MSG_BYTES
        return [raw[position * size + skip : position * size + end] for position in positions]

    def states(self) -> bytes:
        return self._byte_column(_STATE)

    def local_ports(self) -> list[int]:
        return self._ports(_LOCAL_PORT)

    def remote_ports(self) -> list[int]:
        return self._ports(_REMOTE_PORT)

    def owner_keys(self) -> list[int]:
        return self._column(_INODE).tolist()

    def owner_key_column(self) -> bytes:
        """Return the owner keys in the form of SocketBatch.owner_key_column."""
        return self._column(_INODE).tobytes()

    def cookies(self) -> list[int]:
        low, high = self._column(_COOKIE).tolist(), self._column(_COOKIE + 4)
        if high.tobytes() == bytes(4 * len(high)):
            return low
        return [upper << 32 | lower for lower, upper in zip(low, high.tolist(), strict=True)]

    def timers(self) -> bytes:
        return self._byte_column(_TIMER)

    def queues(self) -> tuple[array[int], array[int]]:
        """Return the columns of receive queues and send queues, in bytes."""
        return self._column(_QUEUES[0]), self._column(_QUEUES[1])

    def inbound_signatures(self) -> Iterator[Hashable]:
        return self._layouts.inbound_signature.iter_unpack(self._raw)

    def outbound_signatures(self) -> Iterable[Hashable]:
        signatures = self._layouts.outbound_signature.iter_unpack(self._raw)
        states = self.states()
        if CLOSE not in states:
            return signatures
        # A bound-only socket has no remote end.
        return [
            None if state == CLOSE else signature for state, signature in zip(states, signatures, strict=True)
        ]

    def local_endpoints(self, min_port: int, max_port: int) -> Iterator[tuple[bytes, int]]:
        for family, port, local in self._layouts.local_endpoint.iter_unpack(self._raw):
            if min_port <= port <= max_port:
                yield local[:4] if family == AF_INET else read_address(family, local), port

    def owned_mask(self) -> int:
        """Return an integer with a byte for each socket, the first one lowest: 0 if it has no owner."""
        return self._nonzero_mask(_INODE, 4)

    def queued_mask(self) -> int:
        """Return an integer with a byte for each socket, the first one lowest: 0 if its queues are empty."""
        return self._nonzero_mask(_QUEUES[0], 8)

    def _nonzero_mask(self, offset: int, size: int) -> int:
        columns = map(self._byte_column, range(offset, offset + size))
        return reduce(or_, (int.from_bytes(column, "little") for column in columns))

    def _byte_column(self, offset: int) -> bytes:
        return self._raw[self._skip + offset :: self._size]

    def _ports(self, offset: int) -> list[int]:
        ports = array("H", self._raw)[(offset + self._skip) // 2 :: self._size // 2]
        if sys.byteorder == "little":
            ports.byteswap()
        return ports.tolist()

    def _column(self, offset: int) -> array[int]:
        """Return a column of unsigned 32 bit integers.

        Slicing an array takes a third of the time of slicing a memoryview.
        """
        return self._words[(offset + self._skip) // 4 :: self._size // 4]

    @cached_property
    def _words(self) -> array[int]:
        return array("I", self._raw)


def join_tables(tables: Iterable[InetDiagTable]) -> InetDiagTable:
    """Return one table of the sockets of all tables, in this order."""
    return InetDiagTable(b"".join([table.payloads() for table in tables]))
