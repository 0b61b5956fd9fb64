"""A simulated Windows: processes, services, their tags and TCP tables."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Mapping
from typing import Final

from exporter.windows.iphlpapi_source import IphlpapiSource
from exporter.windows.process_table import FILETIME_UNIX_EPOCH, ProcessEntry, ProcessTable
from exporter.windows.service_tags import ServiceOwnerKeys
from exporter.windows.services import ServiceTable
from exporter.windows.tcp_rows import TCP4_LAYOUT, TCP6_LAYOUT, TcpRows
from exporter.windows.windows_processes import WindowsProcessReader

from .rows import Row, tcp4_table, tcp6_table

STARTED: Final = FILETIME_UNIX_EPOCH + 10_000_000
SHARED, SINGLE, SPOOLER, APP = 800, 900, 1000, 1100
BFE, MPSSVC = 11, 12
SERVICES: Final = {SHARED: ["BFE", "mpssvc"], SINGLE: ["Dnscache"], SPOOLER: ["Spooler", "Fax"]}
TAGS: Final = {(SHARED, BFE): "BFE", (SHARED, MPSSVC): "mpssvc", (SPOOLER, 9): "Fax", (SINGLE, 9): "Dnscache"}


def entry(name: str, created: int = STARTED) -> ProcessEntry:
    return ProcessEntry(name, created, 500)


class Host:
    """Processes, services and tags."""

    def __init__(self) -> None:
        self.processes: dict[int, ProcessEntry] = {
            SHARED: entry("svchost.exe"),
            SINGLE: entry("svchost.exe"),
            SPOOLER: entry("spoolsv.exe"),
            APP: entry("app.exe"),
        }
        self.services: Mapping[int, list[str]] = SERVICES
        self.tags = dict(TAGS)
        self.asked: list[tuple[int, int]] = []
        self.now = 0.0
        self.connections: tuple[Row, ...] = ()
        table = ServiceTable(lambda: self.services, lambda: self.now)
        self.owner_keys = ServiceOwnerKeys(table, self.read_service_name)
        self.table = ProcessTable(lambda: self.processes, max_age_seconds=0)
        self.reader = WindowsProcessReader(self.table, table, self.owner_keys)

    def read_service_name(self, pid: int, tag: int) -> str:
        self.asked.append((pid, tag))
        return self.tags.get((pid, tag), "")

    def assign(self, *rows: tuple[int, int]) -> list[tuple[int, str]]:
        """Return pid and service of the owner keys of rows with these pids and tags."""
        pids, tags = (array("I", column) for column in zip(*rows, strict=True))
        return [self.owner_keys.split(key) for key in self.owner_keys.assign(pids, tags, self.processes)]

    def source(self, *connections: Row, ipv6: tuple[Row, ...] = ()) -> IphlpapiSource:
        """Return the source; `connections` may be replaced between collections."""
        self.connections = connections
        tables: list[Callable[[], TcpRows]] = [
            lambda: TcpRows(TCP4_LAYOUT, tcp4_table(*self.connections)),
            lambda: TcpRows(TCP6_LAYOUT, tcp6_table(*ipv6)),
        ]
        return IphlpapiSource(self.table.entries, tables, list, self.owner_keys.assign)
