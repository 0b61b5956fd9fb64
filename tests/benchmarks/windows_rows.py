"""CPU time of Python for the TCP table of Windows: `python -m tests.benchmarks.windows_rows [ROWS]`.

Measured on any system, with a table as iphlpapi.dll writes it and without the call of the system. psutil's
way is its own code for Windows and PsutilSource, with the rows that psutil's C code would return.
"""

from __future__ import annotations

import socket
import statistics
import struct
import sys
import time
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any, Final, NamedTuple
from unittest import mock

import psutil

from exporter.model.sockets import SocketBatch
from exporter.portable.psutil_source import PsutilSource
from exporter.windows.iphlpapi_source import IphlpapiSource
from exporter.windows.process_table import ProcessEntry
from exporter.windows.service_tags import ServiceOwnerKeys
from exporter.windows.services import ServiceTable
from exporter.windows.tcp_rows import TCP4_LAYOUT, TCP6_LAYOUT, TcpRows

ROWS: Final = 50_000
ROUNDS: Final = 7
MAX_SECONDS: Final = 0.030
"""Target for decoding 50,000 rows."""

_ROW: Final = struct.Struct("<I4sH2x4sH2xIQI124x")
# MIB_TCP_STATE and psutil's names.
_STATES: Final = ((5, "ESTABLISHED"), (8, "CLOSE_WAIT"), (11, "TIME_WAIT"), (7, "FIN_WAIT2"))
_PIDS: Final = (1232, 2344, 800)
_SHARED: Final = 800
_CREATED: Final = 133_000_000_000_000_000
_SERVER: Final = bytes((10, 0, 0, 1))
_PORT: Final = 9100


class Times(NamedTuple):
    """Medians of CPU seconds."""

    decoded: float
    """The table as columns, with the identity of each row."""
    counted: float
    """The whole of IphlpapiSource, as for sockets that are known: also owner keys, batches and CLOSE_WAIT."""
    shared: float
    """The same where a svchost is shared by services."""
    by_psutil: float
    """The same by psutil and PsutilSource, which have to decode all sockets each time."""


def measure(rows: int = ROWS, rounds: int = ROUNDS) -> Times:
    """Measure all ways in turn, so that a busy machine slows all of them."""
    ways = [lambda: TcpRows(TCP4_LAYOUT, table), *source_readers(rows)]
    table = _table(rows)
    times = [[_cpu_seconds(way) for way in ways] for _ in range(rounds)]
    return Times(*map(statistics.median, zip(*times, strict=True)))


def source_readers(rows: int) -> list[Callable[[], list[SocketBatch]]]:
    """Return the functions that read all sockets of a table: by both ways of the source, and by psutil."""
    table, empty = _table(rows), bytes(8)
    processes = {pid: ProcessEntry("svchost.exe", _CREATED - 1, 100) for pid in _PIDS}
    services = ServiceTable(lambda: {_SHARED: ["BFE", "mpssvc"]})
    owner_keys = ServiceOwnerKeys(services, lambda _pid, tag: f"service{tag}")
    tables = [lambda: TcpRows(TCP4_LAYOUT, table), lambda: TcpRows(TCP6_LAYOUT, empty)]
    plain = IphlpapiSource(lambda: processes, tables, list)
    shared = IphlpapiSource(lambda: processes, tables, list, owner_keys.assign)
    portable = PsutilSource()
    psutil_of_windows = _psutil_of_windows([_psutil_row(number) for number in range(rows)])

    def read_by_psutil() -> list[SocketBatch]:
        with mock.patch.object(psutil, "net_connections", psutil_of_windows):
            return list(portable.full_sockets())

    return [lambda: list(plain.full_sockets()), lambda: list(shared.full_sockets()), read_by_psutil]


def _table(rows: int) -> bytes:
    return struct.pack("<I4x", rows) + b"".join(map(_pack, range(rows)))


def _cpu_seconds(way: Callable[[], object]) -> float:
    begin = time.process_time()
    way()
    return time.process_time() - begin


def _client(number: int) -> tuple[bytes, int]:
    return bytes((10, 1, number >> 8 & 255, number & 255)), 1024 + number % 60_000


def _pack(number: int) -> bytes:
    state, pid = _STATES[number % 4][0], _PIDS[number % 3]
    address, port = _client(number)
    ports = [int.from_bytes(value.to_bytes(2, "big"), "little") for value in (_PORT, port)]
    tag = 1 + number % 2 if pid == _SHARED else 0
    return _ROW.pack(state, _SERVER, ports[0], address, ports[1], pid, _CREATED + number, tag)


def _psutil_row(number: int) -> tuple[object, ...]:
    address, port = _client(number)
    ends = ("10.0.0.1", _PORT), (socket.inet_ntop(socket.AF_INET, address), port)
    name = _STATES[number % 4][1]
    return -1, socket.AF_INET, socket.SOCK_STREAM, *ends, name, _PIDS[number % 3]


class _Extension(ModuleType):
    """psutil's extension module for Windows: constants are numbers that differ, and one function."""

    def __getattr__(self, name: str) -> int:
        if name.startswith("__"):
            raise AttributeError(name)
        number = len(self.__dict__)
        setattr(self, name, number)
        return number


def _psutil_of_windows(rows: list[tuple[object, ...]]) -> Callable[[str], list[Any]]:
    """Return psutil's net_connections() for Windows, whose C code returns these rows."""
    name = "psutil._psutil_windows"
    extension = _Extension(name)
    modules: Mapping[str, ModuleType] = {name: extension}
    replaced = mock.patch.object(psutil, "_psutil_windows", extension, create=True)
    with mock.patch.dict(sys.modules, modules), replaced:
        from psutil import _pswindows  # needs the module above
    numbers = {state: number for number, state in _pswindows.TCP_STATUSES.items()}
    converted = [(*row[:5], numbers[str(row[5])], row[6]) for row in rows]
    extension.net_connections = lambda *_: converted  # type: ignore[attr-defined]  # a module's function
    function: Callable[[str], list[Any]] = _pswindows.net_connections
    return function


def main() -> None:
    """Print the times, and whether the target is met."""
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else ROWS
    times = measure(rows)
    print(f"{rows:,} rows of the TCP table of Windows, CPU time of Python, median of {ROUNDS} rounds:")
    for way, seconds in times._asdict().items():
        ratio = times.by_psutil / seconds
        print(f"  {way:<10} {1000 * seconds:8.1f} ms   {ratio:6.1f} times as fast as psutil")
    if rows == ROWS:
        verdict = "met" if times.decoded <= MAX_SECONDS else "NOT MET"
        print(f"  target: decoded in {1000 * MAX_SECONDS:.0f} ms: {verdict}")


if __name__ == "__main__":
    main()
