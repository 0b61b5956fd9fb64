"""Attributes of processes on Windows."""

from __future__ import annotations

from dataclasses import replace

from ..model.process import Process, ProcessId
from ..portable.psutil_process import read_details, without_exe_suffix
from .process_table import ProcessTable
from .service_tags import SHARED_HOST, ServiceOwnerKeys
from .services import ServiceTable


class WindowsProcessReader:
    """Reads attributes of processes from the tables of all processes and services."""

    def __init__(self, processes: ProcessTable, services: ServiceTable, owner_keys: ServiceOwnerKeys) -> None:
        self._processes = processes
        self._services = services
        self._owner_keys = owner_keys

    def identify(self, owner_key: int) -> tuple[ProcessId, str]:
        """Return the process of this owner key, and its name. Raises OSError if there is none.

        The name is that of the executable without `.exe`, as in windows_exporter. The process of a service
        that is a DLL is `svchost:NAME`, with the names of all services that run in it unless the owner key
        is one of them.
        """
        pid, service = self._owner_keys.split(owner_key)
        entry = self._processes.entry(pid)
        name = without_exe_suffix(entry.name) or str(pid)
        if name.lower() == SHARED_HOST and (services := self._service_names(owner_key)):
            name = f"{name}:{'+'.join(services)}"
        return ProcessId(pid, entry.started_at, service), name

    def describe(self, owner_key: int, details: bool) -> Process:
        """Return the attributes of a process; unreadable ones are empty. Raises OSError if there is none.

        details: read more than name and services.
        """
        identity, name = self.identify(owner_key)
        services = self._service_names(owner_key)
        process = Process(identity.pid, identity.start_time, name, services=services)
        if not details:
            return process
        return replace(process, **read_details(identity.pid)._asdict())

    def _service_names(self, owner_key: int) -> tuple[str, ...]:
        """Return the service of an owner key, or all of its process; none if they are unreadable."""
        pid, service = self._owner_keys.split(owner_key)
        if service:
            return (service,)
        try:
            return self._services.names(pid, self._processes.entries().keys())
        except OSError:
            return ()
