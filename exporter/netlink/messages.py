"""Sockets as the kernel's bytes (struct inet_diag_msg, include/uapi/linux/inet_diag.h): pure, no I/O."""

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

SIZE: Final = 72
"""Bytes of the structure, without the attributes behind it."""

_socket = fast_maker(Socket)

_STATE: Final = 1
_TIMER: Final = 2
_LOCAL_PORT: Final = 4
_COOKIE: Final = 44
_QUEUES: Final = (56, 60)
_HOLDER: Final = 68


def address(family: int, raw: bytes) -> bytes:
    """The 4 or 16 bytes of an address in a 16 bytes field; `::ffff:a.b.c.d` is IPv4."""
    if family == AF_INET:
        return raw[:4]
    return raw[12:] if raw.startswith(IPV4_MAPPED_PREFIX) else raw


class _Layouts(NamedTuple):
    """How to read messages of one size, `skip` bytes of which stand before the structure."""

    ends: struct.Struct
    """Family, state, ports and addresses. Big-endian as the ports."""
    accepted: struct.Struct
    calling: struct.Struct
    local_endpoints: struct.Struct


@lru_cache(maxsize=64)
def _layouts(size: int, skip: int) -> _Layouts:
    def layout(order: str, fields: str) -> struct.Struct:
        rest = size - skip - struct.calcsize(f"={fields}")
        return struct.Struct(f"{order}{skip}x{fields}{rest}x")

    return _Layouts(
        layout(">", "BBxxHH16s16s"),
        layout("=", "2s2x2s2x16s"),
        layout("=", "2s4x34s"),
        layout(">", "B3xH2x16s"),
    )


class KernelRows:
    """Sockets kept as messages of one size, decoded at each iteration."""

    def __init__(self, raw: bytes, size: int = SIZE, skip: int = 0) -> None:
        self._raw = raw
        self._size = size
        self._skip = skip
        self._layouts = _layouts(size, skip)

    def __len__(self) -> int:
        return len(self._raw) // self._size

    def __iter__(self) -> Iterator[Socket]:
        # One flat loop, without a call for each socket.
        for (family, state, local_port, remote_port, local, remote), cookie, owner_key in zip(
            self._layouts.ends.iter_unpack(self._raw), self.cookies(), self.owner_keys(), strict=True
        ):
            if family == AF_INET:
                local, remote = local[:4], remote[:4]
            elif local[:12] == IPV4_MAPPED_PREFIX or remote[:12] == IPV4_MAPPED_PREFIX:
                local, remote = address(family, local), address(family, remote)
            yield _socket((state, local, local_port, remote, remote_port, owner_key, cookie))

    def select(self, positions: Sequence[int]) -> KernelRows:
        if positions == range(len(self)):
            return self
        return KernelRows(b"".join(self.messages(positions)))

    def concat(self, others: Iterable[KernelRows]) -> KernelRows:
        return joined([self, *others])

    def structures(self) -> bytes:
        """The structures alone, one after the other."""
        return self._raw if self._size == SIZE else b"".join(self.messages(range(len(self))))

    def messages(self, positions: Iterable[int]) -> list[bytes]:
        """The structures at these positions."""
        raw, size, skip, end = self._raw, self._size, self._skip, self._skip + SIZE
        return [raw[place * size + skip : place * size + end] for place in positions]

    def states(self) -> bytes:
        return self._bytes(_STATE)

    def local_ports(self) -> list[int]:
        ports = array("H", self._raw)[(_LOCAL_PORT + self._skip) // 2 :: self._size // 2]
        if sys.byteorder == "little":
            ports.byteswap()
        return ports.tolist()

    def owner_keys(self) -> list[int]:
        return self._column(_HOLDER).tolist()

    def owner_key_column(self) -> bytes:
        """The holders, as Batch has them."""
        return self._column(_HOLDER).tobytes()

    def cookies(self) -> list[int]:
        low, high = self._column(_COOKIE).tolist(), self._column(_COOKIE + 4)
        if high.tobytes() == bytes(4 * len(high)):
            return low
        return [upper << 32 | lower for lower, upper in zip(low, high.tolist(), strict=True)]

    def timers(self) -> bytes:
        return self._bytes(_TIMER)

    def queues(self) -> tuple[array[int], array[int]]:
        """Unread and unacknowledged bytes, a column each."""
        return self._column(_QUEUES[0]), self._column(_QUEUES[1])

    def inbound_signatures(self) -> Iterator[Hashable]:
        return self._layouts.accepted.iter_unpack(self._raw)

    def outbound_signatures(self) -> Iterable[Hashable]:
        all_of_them = self._layouts.calling.iter_unpack(self._raw)
        states = self.states()
        if CLOSE not in states:
            return all_of_them
        # Only bound: its local port is all there is of it.
        return [None if state == CLOSE else one for state, one in zip(states, all_of_them, strict=True)]

    def local_endpoints(self, first: int, last: int) -> Iterator[tuple[bytes, int]]:
        """The local addresses and ports of those whose port is from the first to the last."""
        for family, port, local in self._layouts.local_endpoints.iter_unpack(self._raw):
            if first <= port <= last:
                yield local[:4] if family == AF_INET else address(family, local), port

    def are_held(self) -> int:
        """A big integer with a byte for each socket, the first in the lowest: zero where nobody holds it."""
        return self._not_zero(_HOLDER, 4)

    def have_queues(self) -> int:
        """As are_held(): zero where both queues are empty."""
        return self._not_zero(_QUEUES[0], 8)

    def _not_zero(self, place: int, number: int) -> int:
        columns = map(self._bytes, range(place, place + number))
        return reduce(or_, (int.from_bytes(column, "little") for column in columns))

    def _bytes(self, place: int) -> bytes:
        return self._raw[self._skip + place :: self._size]

    def _column(self, place: int) -> array[int]:
        """A column of unsigned 32 bits. Slices of an array take a third of what those of a memoryview do."""
        return self._words[(place + self._skip) // 4 :: self._size // 4]

    @cached_property
    def _words(self) -> array[int]:
        return array("I", self._raw)


def joined(some: Iterable[KernelRows]) -> KernelRows:
    """All of them, one after the other."""
    return KernelRows(b"".join([rows.structures() for rows in some]))
