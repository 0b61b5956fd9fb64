"""Readers of this Windows, which share the tables of processes and services."""

from __future__ import annotations

from ..model.host import KernelCounters, SysctlLimits
from .dynamic_ports import DynamicPortReader
from .iphlpapi_source import IphlpapiSource
from .process_table import ProcessTable
from .service_tags import ServiceOwnerKeys
from .services import ServiceTable
from .tcp_statistics import TcpStatisticsReader
from .windows_limits import WindowsLimitsReader
from .windows_processes import WindowsProcessReader


class WindowsHost:
    """Builds the source of sockets and the reader of their owners, and reads other data of the host."""

    def __init__(self) -> None:
        self._processes = ProcessTable()
        self._services = ServiceTable()
        self._owner_keys = ServiceOwnerKeys(self._services)
        self._limits = WindowsLimitsReader(DynamicPortReader())
        self._counters = TcpStatisticsReader()

    def build_source(self) -> IphlpapiSource:
        """Return the source of sockets."""
        return IphlpapiSource(self._processes.entries, assign_owner_keys=self._owner_keys.assign)

    def build_process_reader(self) -> WindowsProcessReader:
        """Return the reader for the owner keys of that source."""
        return WindowsProcessReader(self._processes, self._services, self._owner_keys)

    def read_limits(self) -> SysctlLimits:
        """Return the limits. Raises OSError if the registry is unreadable."""
        return self._limits.read()

    def read_counters(self) -> KernelCounters:
        """Return the counters of TCP. Raises OSError."""
        return self._counters.read()

    def read_handle_count(self, pid: int) -> int:
        """Return the number of open handles of a process. Raises OSError if there is none."""
        return self._processes.entry(pid).handles
