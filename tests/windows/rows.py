"""TCP tables as Windows returns them, made of named rows."""

from __future__ import annotations

import ipaddress
import struct
from typing import Final, NamedTuple

ESTABLISHED: Final = 5
CLOSE_WAIT: Final = 8
TIME_WAIT: Final = 11
LISTEN: Final = 2

_TCP4: Final = struct.Struct("<I4sHH4sHHIQI124x")
_TCP6: Final = struct.Struct("<16sIHH16sIHHIIQI124x")


class Row(NamedTuple):
    """Row of a table. garbage: the undefined upper halves of both ports; tag: of a service."""

    state: int
    local: str
    local_port: int
    remote: str = "0.0.0.0"
    remote_port: int = 0
    pid: int = 0
    created: int = 0
    garbage: int = 0
    tag: int = 0


def tcp4_table(*rows: Row, unused: bytes = b"") -> bytes:
    """MIB_TCPTABLE_OWNER_MODULE."""
    return struct.pack("<I4x", len(rows)) + b"".join(map(_tcp4_row, rows)) + unused


def tcp6_table(*rows: Row) -> bytes:
    """MIB_TCP6TABLE_OWNER_MODULE."""
    return struct.pack("<I4x", len(rows)) + b"".join(map(_tcp6_row, rows))


def _tcp4_row(row: Row) -> bytes:
    local, remote = _address(row.local), _address(row.remote)
    ports = _swap(row.local_port), _swap(row.remote_port)
    return _TCP4.pack(
        row.state, local, ports[0], row.garbage, remote, ports[1], row.garbage, row.pid, row.created, row.tag
    )


def _tcp6_row(row: Row) -> bytes:
    local, remote = _address(row.local), _address(row.remote)
    ports = _swap(row.local_port), _swap(row.remote_port)
    ends = local, 0, ports[0], row.garbage, remote, 0, ports[1], row.garbage
    return _TCP6.pack(*ends, row.state, row.pid, row.created, row.tag)


def _address(text: str) -> bytes:
    return ipaddress.ip_address(text).packed


def _swap(port: int) -> int:
    return int.from_bytes(port.to_bytes(2, "big"), "little")
