"""Reads the TCP tables of iphlpapi.dll: connections and listeners, and sockets that are only bound.

Neither needs an administrator's rights.
"""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Iterator
from typing import Final, NamedTuple

from ..model.address import IPV4_MAPPED_PREFIX
from .api import (
    ERROR_INSUFFICIENT_BUFFER,
    ERROR_SUCCESS,
    STATUS_UNSUCCESSFUL,
    has_function,
    library,
    windows_error,
)
from .tcp_rows import FIRST_ROW, TCP4_LAYOUT, RowLayout, TcpRows

_AF_INET: Final = 2
_AF_INET6: Final = 23
_TCP_TABLE_OWNER_MODULE_ALL: Final = 8

_MAX_ATTEMPTS: Final = 10
_MIN_BUFFER_BYTES: Final = 64 * 1024
# One call takes seconds for a huge table: the buffer has room for growth, so that the next call is the last.
_GROWTH: Final = 1.25
_MAX_BUFFER_RATIO: Final = 8


class TcpTableReader:
    """Reads the table of one address family. Keeps its buffer from call to call."""

    def __init__(self, layout: RowLayout) -> None:
        self._layout = layout
        self._family = _AF_INET if layout is TCP4_LAYOUT else _AF_INET6
        self._buffer = ctypes.create_string_buffer(_MIN_BUFFER_BYTES)

    def read(self) -> TcpRows:
        """Return the rows of GetExtendedTcpTable. Raises OSError, or ValueError for a malformed table.

        Under load the system can need more than it asked for, or fail with STATUS_UNSUCCESSFUL: the call is
        then repeated.

        https://learn.microsoft.com/windows/win32/api/iphlpapi/nf-iphlpapi-getextendedtcptable
        """
        get_table = library("iphlpapi").GetExtendedTcpTable
        for _ in range(_MAX_ATTEMPTS):
            size = ctypes.c_ulong(len(self._buffer))
            table_class = _TCP_TABLE_OWNER_MODULE_ALL
            result = get_table(self._buffer, ctypes.byref(size), False, self._family, table_class, 0)
            result &= 0xFFFFFFFF
            if result == ERROR_SUCCESS:
                rows = TcpRows(self._layout, memoryview(self._buffer))
                self._shrink_buffer(FIRST_ROW + len(rows) * self._layout.size)
                return rows
            if result == ERROR_INSUFFICIENT_BUFFER:
                self._buffer = ctypes.create_string_buffer(int(_GROWTH * size.value))
            elif result != STATUS_UNSUCCESSFUL:
                break
        raise windows_error(result)

    def _shrink_buffer(self, used_bytes: int) -> None:
        if len(self._buffer) > max(_MAX_BUFFER_RATIO * used_bytes, _MIN_BUFFER_BYTES):
            self._buffer = ctypes.create_string_buffer(max(2 * used_bytes, _MIN_BUFFER_BYTES))


class BoundPort(NamedTuple):
    """Local end of a socket that is bound to a port, connected or not."""

    local_address: bytes
    local_port: int
    pid: int


class _BoundTable(NamedTuple):
    """Function of iphlpapi.dll that returns a table of bound ports, and the layout of its rows."""

    function: str
    row: struct.Struct
    """State, local address (in IPv6 with a scope), local port, remote end, pid, and another number."""
    address: int
    port: int
    pid: int
    """Positions of these fields in a row."""


# MIB_TCPROW2 and MIB_TCP6ROW2 (tcpmib.h).
_BOUND_TABLES: Final = (
    _BoundTable("InternalGetBoundTcpEndpointTable", struct.Struct("<I4s2sxx4sIII"), 1, 2, 5),
    _BoundTable("InternalGetBoundTcp6EndpointTable", struct.Struct("<16sI2sxx16sIIIII"), 0, 2, 7),
)
_FIRST_BOUND_ROW: Final = 4


def can_list_bound_ports() -> bool:
    """Return whether this Windows lists the bound ports: Windows 10 version 1809, and later."""
    return all(has_function("iphlpapi", table.function) for table in _BOUND_TABLES)


def read_bound_ports() -> Iterator[BoundPort]:
    """Yield the bound ports, those of connected sockets included; none if can_list_bound_ports() is false.

    Raises OSError. The two functions are not documented; `netstat -q` uses them. The tables are on the heap
    of this process.
    """
    if not can_list_bound_ports():
        return
    for table in _BOUND_TABLES:
        raw = _read_bound_table(table)
        for row in table.row.iter_unpack(raw):
            address = row[table.address]
            if address.startswith(IPV4_MAPPED_PREFIX):
                address = address[12:]
            yield BoundPort(address, int.from_bytes(row[table.port], "big"), row[table.pid])


def _read_bound_table(table: _BoundTable) -> bytes:
    """Return the rows of a table. Raises OSError."""
    kernel32 = library("kernel32")
    kernel32.GetProcessHeap.restype = ctypes.c_void_p
    kernel32.HeapFree.argtypes = [ctypes.c_void_p, ctypes.c_ulong, ctypes.c_void_p]
    get_table = getattr(library("iphlpapi"), table.function)
    get_table.argtypes = [ctypes.POINTER(ctypes.c_void_p), ctypes.c_void_p, ctypes.c_ulong]
    heap, pointer = kernel32.GetProcessHeap(), ctypes.c_void_p()
    try:
        if result := get_table(ctypes.byref(pointer), heap, 0):
            raise windows_error(result & 0xFFFFFFFF)
        if not pointer.value:
            return b""
        (count,) = struct.unpack("<I", ctypes.string_at(pointer.value, 4))
        return ctypes.string_at(pointer.value + _FIRST_BOUND_ROW, count * table.row.size)
    finally:
        # It is not documented that a call that fails leaves no table.
        if pointer.value:
            kernel32.HeapFree(heap, 0, pointer)
