"""Builds messages of sockets in CLOSE_WAIT with their attributes; see also messages.py.

Layouts: struct nlattr (linux/netlink.h), struct tcp_info (linux/tcp.h), struct mptcp_info (linux/mptcp.h).
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Sequence
from typing import Final

from exporter.model.sockets import CLOSE_WAIT, CloseWaitSocket
from exporter.netlink.close_wait_dump import parse_mptcp, parse_tcp

from .messages import GETSOCK, LOOPBACK, SHORTEST, done, message, row

V4, V6 = socket.AF_INET, socket.AF_INET6
HERE: Final = (LOOPBACK, 80)
MARK, SHUTDOWN, INFO, CGROUP, ULP = 15, 8, 2, 21, 19
NESTED: Final = 0x8000

USUAL: Final = [(SHUTDOWN, b"\1"), (MARK, bytes(4)), (CGROUP, struct.pack("=Q", 25)), (22, b"\0\0")]
"""Attributes that Linux 6.18 puts in front of INET_DIAG_INFO."""


def attribute(kind: int, payload: bytes) -> bytes:
    """A struct nlattr with its padding."""
    raw = struct.pack("=HH", 4 + len(payload), kind) + payload
    return raw + bytes(-len(raw) % 4)


def tcp_info(data: int, ack: int, size: int = 280, *, sent: int = 0) -> bytes:
    """A struct tcp_info with milliseconds since the last data, ACK and send; all other bytes are 0xa5."""
    raw = b"\xa5" * 44 + struct.pack("=IIII", sent, 0, data, ack) + b"\xa5" * 280
    return raw[:size]


def mptcp_info(
    data: int,
    ack: int,
    *,
    sent: int = 0,
    flags: int = 2,
    unacknowledged: int = 0,
    size: int = 96,
) -> bytes:
    """A struct mptcp_info with milliseconds since the last data, ACK and send."""
    raw = b"\xa5" * 8 + struct.pack("=IIQQ", flags, 0, 2**40 + unacknowledged, 2**40) + b"\xa5" * 56
    return (raw[:84] + struct.pack("=III", sent, data, ack))[:size]


def half(
    info: bytes | None = None,
    before: Sequence[tuple[int, bytes]] = USUAL,
    *,
    state: int = CLOSE_WAIT,
    cookie: int = 7,
    owner_key: int = 4711,
    family: int = V4,
    local: tuple[bytes, int] = HERE,
    remote: tuple[bytes, int] = (LOOPBACK, 40000),
    queues: tuple[int, int] = (1, 0),
    timer: int = 0,
) -> bytes:
    """The message of one socket, with INET_DIAG_INFO behind other attributes and before one more."""
    fixed = row(
        state, cookie, owner_key, size=SHORTEST, family=family, local=local, remote=remote, queues=queues
    )
    payload = bytearray(fixed[16:])
    payload[2] = timer
    attributes = list(before)
    if info is not None:
        attributes += [(INFO, info), (ULP | NESTED, b"\1\2\3")]
    return message(GETSOCK, bytes(payload) + b"".join(attribute(*one) for one in attributes))


def tcp(*messages: bytes) -> list[CloseWaitSocket]:
    """Return the sockets read from a TCP dump of these messages."""
    return list(parse_tcp([b"".join(messages) + done()]))


def mptcp(*messages: bytes) -> list[CloseWaitSocket]:
    """Return the sockets read from an MPTCP dump of these messages."""
    return list(parse_mptcp([b"".join(messages) + done()]))
