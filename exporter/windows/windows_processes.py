"""Attributes of processes on Windows."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from ..model.process import Process, ProcessId
from ..portable.psutil_process import read_details, without_exe_suffix
from .process_table import ProcessTable
from .services import ServiceTable

_SHARED_HOST: Final = "svchost"


class WindowsProcessReader:
    """Reads attributes of processes from the tables of all processes and services."""

    def __init__(self, processes: ProcessTable, services: ServiceTable) -> None:
        self._processes = processes
        self._services = services

    def identify(self, pid: int) -> tuple[ProcessId, str]:
        """Return the process that has this pid now, and its name. Raises OSError if there is none.

        The name is that of the executable without `.exe`, as in windows_exporter. The process of a service
        that is a DLL is `svchost:NAME`, with the names of all services that run in it.
        """
        entry = self._processes.entry(pid)
        name = without_exe_suffix(entry.name) or str(pid)
        if name.lower() == _SHARED_HOST and (services := self._service_names(pid)):
            name = f"{name}:{'+'.join(services)}"
        return ProcessId(pid, entry.started_at), name

    def describe(self, pid: int, details: bool) -> Process:
        """Return the attributes of a process; unreadable ones are empty. Raises OSError if there is none.

        details: read more than name and services.
        """
        identity, name = self.identify(pid)
        process = Process(pid, identity.start_time, name, services=self._service_names(pid))
        if not details:
            return process
        return replace(process, **read_details(pid)._asdict())

    def _service_names(self, pid: int) -> tuple[str, ...]:
        """Return the names of the services of a process; none if they are unreadable."""
        try:
            return self._services.names(pid, self._processes.entries().keys())
        except OSError:
            return ()
