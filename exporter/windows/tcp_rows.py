"""Rows of the TCP tables of iphlpapi.dll as columns. Pure: tcp_table.py reads the tables.

The layouts are those of MIB_TCPROW_OWNER_MODULE and MIB_TCP6ROW_OWNER_MODULE
(https://learn.microsoft.com/windows/win32/api/tcpmib/). A port is big-endian in the low 16 bits of a DWORD,
whose high 16 bits are undefined. liCreateTimestamp is a FILETIME: units of 100 ns since 1601.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from ..model.address import IPV4_MAPPED_PREFIX
from ..model.sockets import (
    CLOSE,
    CLOSE_WAIT,
    CLOSING,
    ESTABLISHED,
    FIN_WAIT1,
    FIN_WAIT2,
    LAST_ACK,
    LISTEN,
    SYN_RECV,
    SYN_SENT,
    TIME_WAIT,
    Socket,
    fast_maker,
)

MIB_STATES: Final[dict[int, int]] = {
    1: CLOSE,
    2: LISTEN,
    3: SYN_SENT,
    4: SYN_RECV,
    5: ESTABLISHED,
    6: FIN_WAIT1,
    7: FIN_WAIT2,
    8: CLOSE_WAIT,
    9: CLOSING,
    10: LAST_ACK,
    11: TIME_WAIT,
    # DELETE_TCB: the connection is closed, its control block is about to be freed.
    12: CLOSE,
}
"""MIB_TCP_STATE (tcpmib.h) -> state. Any other value counts as CLOSE."""

_STATE_TABLE: Final = bytes(MIB_STATES.get(number, CLOSE) for number in range(256))
_make_socket = fast_maker(Socket)


@dataclass(frozen=True, slots=True)
class RowLayout:
    """Layout of the rows of one address family. All offsets and sizes are in bytes."""

    size: int
    state: int
    ports: tuple[int, int]
    pid: int
    created: int
    tag: int
    key: slice
    """Part of a row with addresses, ports and creation time; also with the pid, and in IPv6 the state."""
    fields: struct.Struct
    """Local address, local port, remote address and remote port of a key."""


TCP4_LAYOUT: Final = RowLayout(160, 0, (8, 16), 20, 24, 32, slice(4, 32), struct.Struct(">4sH2x4sH2x12x"))
TCP6_LAYOUT: Final = RowLayout(
    192, 48, (20, 44), 52, 56, 64, slice(0, 64), struct.Struct(">16s4xH2x16s4xH18x")
)
FIRST_ROW: Final = 8
"""Offset of the first row in a table of either layout, after the number of rows."""


class TcpRows:
    """Rows of one table. Each column has one item for each row."""

    def __init__(self, layout: RowLayout, table: bytes | bytearray | memoryview) -> None:
        """Read the columns, in C: 50,000 rows take 10 ms.

        table: the table as the system writes it, possibly with unused bytes at its end. Raises ValueError if
        it has fewer rows than it says.
        """
        (count,) = struct.unpack_from("<I", table)
        rows = table[FIRST_ROW : FIRST_ROW + count * layout.size]
        if len(rows) != count * layout.size:
            raise ValueError(f"TCP table of {len(table)} bytes cannot have {count} rows")
        raw, stride = bytes(rows), layout.size
        # Of bytes, since all states fit in one: three times as fast as a column of 32 bit integers.
        self.states = raw[layout.state :: stride].translate(_STATE_TABLE)
        self.local_ports = array("H", raw)[layout.ports[0] // 2 :: stride // 2]
        self.local_ports.byteswap()
        numbers = array("I", raw)
        self.pids = numbers[layout.pid // 4 :: stride // 4]
        self.tags = numbers[layout.tag // 4 :: stride // 4]
        """Tags of services, the first of OwningModuleInfo; 0 if there is none."""
        self.created = array("Q", raw)[layout.created // 8 :: stride // 8]
        """Creation times as FILETIME; 0 if unknown."""
        self.keys = _keys(layout, raw, count)
        """Identity of each connection, in any state and with any owner: without the creation time, another
        connection can have the same addresses and ports later."""
        self._fields = layout.fields
        self._is_ipv6 = layout is TCP6_LAYOUT

    def __len__(self) -> int:
        return len(self.keys)

    def sockets(self, positions: Sequence[int], owner_keys: Sequence[int]) -> list[Socket]:
        """Return the sockets at these positions. Their cookie is their key.

        owner_keys: owner key of each row of the table.
        """
        keys = [self.keys[position] for position in positions]
        raw = b"".join([key.to_bytes(self._fields.size) for key in keys])
        rows = zip(
            (self.states[position] for position in positions),
            self._fields.iter_unpack(raw),
            (owner_keys[position] for position in positions),
            keys,
            strict=True,
        )
        if self._is_ipv6:
            return [
                _make_socket((state, _unmap(local), local_port, _unmap(remote), remote_port, owner_key, key))
                for state, (local, local_port, remote, remote_port), owner_key, key in rows
            ]
        return [
            _make_socket((state, local, local_port, remote, remote_port, owner_key, key))
            for state, (local, local_port, remote, remote_port), owner_key, key in rows
        ]


def _unmap(address: bytes) -> bytes:
    return address[12:] if address.startswith(IPV4_MAPPED_PREFIX) else address


def _keys(layout: RowLayout, raw: bytes, count: int) -> list[int]:
    """Return the key of each row: the bytes of `layout.key`, without state and pid, as an integer."""
    halves, stride = array("H", raw), layout.size // 2
    zeros = array("H", bytes(2 * count))
    # The pid changes to 0 when the connection enters TIME_WAIT. The upper halves of ports are undefined.
    for offset in (
        layout.state,
        layout.state + 2,
        layout.pid,
        layout.pid + 2,
        *(at + 2 for at in layout.ports),
    ):
        halves[offset // 2 :: stride] = zeros
    cleared, start, stop = halves.tobytes(), layout.key.start, layout.key.stop
    from_bytes = int.from_bytes
    return [from_bytes(cleared[at + start : at + stop]) for at in range(0, len(cleared), layout.size)]
