"""Builds what the kernel answers, byte by byte: written down here once more, not borrowed from the exporter.

Layouts: struct nlmsghdr (linux/netlink.h), struct inet_diag_msg (linux/inet_diag.h).
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from exporter.model.sockets import ESTABLISHED, Socket, SocketBatch
from exporter.netlink import decoder

ERROR: Final = 2
DONE: Final = 3
GETSOCK: Final = 18
BY_FAMILY: Final = 20

SHORTEST: Final = 88
"""The size of a message without attributes: TIME_WAIT for a user without rights."""

DUMPS: Final = sorted(Path(__file__).parents[1].joinpath("fixtures", "dumps").glob("*.dump"))

LOOPBACK: Final = bytes((127, 0, 0, 1))


def message(kind: int, payload: bytes) -> bytes:
    """Any netlink message."""
    return struct.pack("=IHHII", 16 + len(payload), kind, 2, 1, 0) + payload


def done(error: int = 0, more: bytes = b"") -> bytes:
    """The end of a dump; negative where it failed half way."""
    return message(DONE, struct.pack("=i", error) + more)


def refusal(error: int, more: bytes = bytes(76)) -> bytes:
    """An error message; the kernel adds the request that it refuses."""
    return message(ERROR, struct.pack("=i", -error) + more)


def row(
    state: int = ESTABLISHED,
    cookie: int = 1,
    owner_key: int = 1000,
    *,
    size: int = 124,
    kind: int = GETSOCK,
    family: int = socket.AF_INET,
    local: tuple[bytes, int] = (LOOPBACK, 80),
    remote: tuple[bytes, int] = (LOOPBACK, 40000),
    queues: tuple[int, int] = (0, 0),
    filler: bytes = b"\xa5",
) -> bytes:
    """The message of one socket, filled up to `size` with `filler` where the attributes would be."""
    (local_address, local_port), (remote_address, remote_port) = local, remote
    head = struct.pack("=BBBB", family, state, 0, 0) + struct.pack(">HH", local_port, remote_port)
    addresses = local_address.ljust(16, b"\0") + remote_address.ljust(16, b"\0")
    words = struct.pack("=IIIIIIII", 0, cookie & 0xFFFFFFFF, cookie >> 32, 0, *queues, 0, owner_key)
    payload = head + addresses + words
    return message(kind, payload + (filler * size)[: size - 16 - len(payload)])


def sizes(data: bytes) -> Iterator[tuple[int, int]]:
    """Yield offset and length of each message of a batch, which must be well-formed."""
    start = 0
    while start < len(data):
        (size,) = struct.unpack_from("=I", data, start)
        yield start, size
        start += size


def split(data: bytes) -> list[bytes]:
    """The messages of a batch known to be good, each for itself."""
    return [data[start : start + size] for start, size in sizes(data)]


def rows_of(batches: Iterable[SocketBatch]) -> list[Socket]:
    """All sockets of these batches, in their order."""
    return [one for batch in batches for one in batch.select(range(len(batch.keys)))]


def parsed(*batches: bytes) -> list[Socket]:
    """All sockets of a dump."""
    return rows_of(decoder.decode_sockets(batches))
