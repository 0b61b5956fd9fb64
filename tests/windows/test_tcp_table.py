"""Reading the TCP tables: retries, buffers, and the memory of the tables of bound ports.

Stand-ins for what Wine lacks: creation times, pids of accepted sockets, tables of bound ports.
"""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Callable
from typing import Final, NamedTuple

import pytest

from exporter.windows.tcp_rows import TCP4_LAYOUT, TCP6_LAYOUT, RowLayout
from exporter.windows.tcp_table import BoundPort, TcpTableReader, can_list_bound_ports, read_bound_ports

from .fake_dlls import DWORD, HANDLE, POINTER, FakeDlls, read_dword, write_dword
from .rows import CLOSE_WAIT, ESTABLISHED, LISTEN, Row, tcp4_table, tcp6_table

INSUFFICIENT: Final = 122
UNSUCCESSFUL: Final = 0xC0000001
ACCESS_DENIED: Final = 5
CREATED: Final = 133_000_000_000_000_000


class Call(NamedTuple):
    """Arguments of GetExtendedTcpTable: size of the buffer, address family, class of the table."""

    size: int
    family: int
    table_class: int


class TcpTables:
    """GetExtendedTcpTable.

    tables: returned one after the other, the last one forever; a number is a status without a table.
    """

    def __init__(self, dlls: FakeDlls, *tables: bytes | int) -> None:
        self.tables = list(tables)
        self.calls: list[Call] = []

        @dlls.define("iphlpapi", "GetExtendedTcpTable", DWORD, POINTER, POINTER, DWORD, DWORD, DWORD, DWORD)
        def _(buffer: int, size_at: int, _order: int, family: int, table_class: int, _reserved: int) -> int:
            self.calls.append(Call(read_dword(size_at), family, table_class))
            table = self.tables.pop(0) if len(self.tables) > 1 else self.tables[0]
            if isinstance(table, int):
                return table
            room = read_dword(size_at)
            write_dword(size_at, len(table))
            if len(table) > room:
                return INSUFFICIENT
            ctypes.memmove(buffer, table, len(table))
            return 0


def connections(count: int) -> bytes:
    return tcp4_table(
        *(Row(ESTABLISHED, "10.0.0.1", 1 + number, "10.0.0.2", 9100) for number in range(count))
    )


class TestTcpTable:
    def test_rows_have_creation_times_and_pids_of_accepted_sockets(self, dlls: FakeDlls) -> None:
        listener = Row(LISTEN, "0.0.0.0", 9100, pid=1234, created=CREATED)
        accepted = Row(CLOSE_WAIT, "10.0.0.1", 9100, "10.0.0.9", 50_000, pid=1234, created=CREATED + 7)
        TcpTables(dlls, tcp4_table(listener, accepted))
        rows = TcpTableReader(TCP4_LAYOUT).read()
        assert list(rows.created) == [CREATED, CREATED + 7]
        assert list(rows.pids) == [1234, 1234]

    @pytest.mark.parametrize(("layout", "family"), [(TCP4_LAYOUT, 2), (TCP6_LAYOUT, 23)])
    def test_each_family_is_read_with_modules(self, dlls: FakeDlls, layout: RowLayout, family: int) -> None:
        tables = TcpTables(dlls, tcp4_table() if family == 2 else tcp6_table())
        assert len(TcpTableReader(layout).read()) == 0
        assert [call[1:] for call in tables.calls] == [(family, 8)]

    def test_table_that_grows_between_calls_is_read_completely(self, dlls: FakeDlls) -> None:
        # Each call needs more room than the one before reported.
        tables = TcpTables(dlls, connections(1000), connections(2000), connections(4000))
        assert len(TcpTableReader(TCP4_LAYOUT).read()) == 4000
        assert len(tables.calls) == 4

    def test_buffer_has_room_for_a_quarter_more_and_is_kept(self, dlls: FakeDlls) -> None:
        tables = TcpTables(dlls, connections(10_000))
        reader = TcpTableReader(TCP4_LAYOUT)
        reader.read()
        tables.tables = [connections(12_000)]
        assert len(reader.read()) == 12_000
        assert [call.size for call in tables.calls] == [65_536, 2_000_010, 2_000_010]

    def test_buffer_shrinks_with_the_table(self, dlls: FakeDlls) -> None:
        tables = TcpTables(dlls, connections(10_000))
        reader = TcpTableReader(TCP4_LAYOUT)
        reader.read()
        tables.tables = [connections(1_000)]
        assert len(reader.read()) == len(reader.read()) == 1_000
        assert [call.size for call in tables.calls[2:]] == [2_000_010, 320_016]

    def test_rows_of_an_earlier_larger_table_are_not_read_again(self, dlls: FakeDlls) -> None:
        tables = TcpTables(dlls, connections(300))
        reader = TcpTableReader(TCP4_LAYOUT)
        reader.read()
        tables.tables = [connections(2)]
        assert len(reader.read()) == 2

    def test_unsuccessful_call_is_repeated(self, dlls: FakeDlls) -> None:
        tables = TcpTables(dlls, UNSUCCESSFUL, UNSUCCESSFUL, connections(3))
        assert len(TcpTableReader(TCP4_LAYOUT).read()) == 3
        assert len(tables.calls) == 3

    def test_persistent_failure_is_an_error_after_ten_calls(self, dlls: FakeDlls) -> None:
        tables = TcpTables(dlls, UNSUCCESSFUL)
        with pytest.raises(OSError, match=str(UNSUCCESSFUL)):
            TcpTableReader(TCP4_LAYOUT).read()
        assert len(tables.calls) == 10

    def test_other_failure_is_an_error_at_once(self, dlls: FakeDlls) -> None:
        tables = TcpTables(dlls, ACCESS_DENIED)
        with pytest.raises(OSError, match="Windows error 5"):
            TcpTableReader(TCP4_LAYOUT).read()
        assert len(tables.calls) == 1

    def test_reader_works_again_after_a_failure(self, dlls: FakeDlls) -> None:
        tables = TcpTables(dlls, ACCESS_DENIED)
        reader = TcpTableReader(TCP4_LAYOUT)
        with pytest.raises(OSError, match="Windows error 5"):
            reader.read()
        tables.tables = [connections(3)]
        assert len(reader.read()) == 3

    def test_table_with_more_rows_than_bytes_is_an_error(self, dlls: FakeDlls) -> None:
        TcpTables(dlls, struct.pack("<I4x", 1_000_000))
        with pytest.raises(ValueError, match="cannot have 1000000 rows"):
            TcpTableReader(TCP4_LAYOUT).read()


BOUND4: Final = struct.Struct("<I4sHH4sHHII")
BOUND6: Final = struct.Struct("<16sIHH16sIHHIII")
HEAP: Final = 0x7FF0_1234_5678
"""A handle of more than 32 bits."""


class BoundTables:
    """The functions of bound ports and the heap on which they allocate their tables."""

    def __init__(self, dlls: FakeDlls, ipv4: bytes | None, ipv6: bytes | None, status: int = 0) -> None:
        self.heap: dict[int, object] = {}
        self.allocations = 0
        self._status = status

        @dlls.define("kernel32", "GetProcessHeap", HANDLE)
        def _() -> int:
            return HEAP

        @dlls.define("kernel32", "HeapFree", DWORD, HANDLE, DWORD, POINTER)
        def _(heap: int, flags: int, address: int) -> int:
            assert (heap, flags) == (HEAP, 0)
            del self.heap[address]
            return 1

        for name, table in (("", ipv4), ("6", ipv6)):
            dlls.define("iphlpapi", f"InternalGetBoundTcp{name}EndpointTable", DWORD, POINTER, HANDLE, DWORD)(
                self._allocate(table)
            )

    def _allocate(self, table: bytes | None) -> Callable[[int, int, int], int]:
        def get_table(pointer_at: int, heap: int, flags: int) -> int:
            if (heap, flags) != (HEAP, 0):
                return 87  # ERROR_INVALID_PARAMETER
            if table is not None:
                buffer = ctypes.create_string_buffer(table, max(len(table), 1))
                address = ctypes.addressof(buffer)
                self.heap[address] = buffer
                self.allocations += 1
                ctypes.c_uint64.from_address(pointer_at).value = address
            return self._status

        return get_table


def bound4(*rows: tuple[str, int, int]) -> bytes:
    """MIB_TCPTABLE2 of (address, port, pid)."""
    packed = (
        BOUND4.pack(1, bytes(map(int, address.split("."))), _swap(port), 0xBEEF, bytes(4), 0, 0, pid, 0)
        for address, port, pid in rows
    )
    return struct.pack("<I", len(rows)) + b"".join(packed)


def bound6(*rows: tuple[bytes, int, int]) -> bytes:
    """MIB_TCP6TABLE2 of (address, port, pid)."""
    packed = (
        BOUND6.pack(address, 0, _swap(port), 0xBEEF, bytes(16), 0, 0, 0, 1, pid, 0)
        for address, port, pid in rows
    )
    return struct.pack("<I", len(rows)) + b"".join(packed)


def _swap(port: int) -> int:
    return int.from_bytes(port.to_bytes(2, "big"), "little")


class TestBoundPorts:
    def test_ports_of_both_families_are_read_and_the_memory_is_freed(self, dlls: FakeDlls) -> None:
        mapped = bytes(10) + b"\xff\xff\x0a\0\0\1"
        tables = BoundTables(
            dlls,
            bound4(("10.0.0.1", 49_152, 1234), ("0.0.0.0", 445, 4)),
            bound6((bytes(16), 49_153, 1235), (mapped, 49_154, 1236)),
        )
        assert list(read_bound_ports()) == [
            BoundPort(bytes((10, 0, 0, 1)), 49_152, 1234),
            BoundPort(bytes(4), 445, 4),
            BoundPort(bytes(16), 49_153, 1235),
            BoundPort(bytes((10, 0, 0, 1)), 49_154, 1236),
        ]
        assert (tables.allocations, tables.heap) == (2, {})

    def test_function_without_a_table_has_no_ports(self, dlls: FakeDlls) -> None:
        BoundTables(dlls, None, bound6())
        assert list(read_bound_ports()) == []

    @pytest.mark.parametrize("ipv4", [None, bound4(("10.0.0.1", 1, 2))], ids=["no table", "table"])
    def test_failure_is_an_error_and_leaves_no_memory(self, dlls: FakeDlls, ipv4: bytes | None) -> None:
        tables = BoundTables(dlls, ipv4, None, status=ACCESS_DENIED)
        with pytest.raises(OSError, match="Windows error 5"):
            list(read_bound_ports())
        assert tables.heap == {}

    def test_older_windows_lists_none(self, dlls: FakeDlls) -> None:
        TcpTables(dlls, connections(1))
        assert not can_list_bound_ports()
        assert list(read_bound_ports()) == []
