"""Owner keys of sockets in a svchost that runs several services: one for each process and service.

The TCP tables have a tag for each socket, which stands for the service that made it. The function that
returns the name of its service is not documented; System Informer and `netstat -b` use it (subprocesstag.h
of System Informer has its structures). It needs no rights on the process.
"""

from __future__ import annotations

import ctypes
from array import array
from collections.abc import Callable, Mapping, Sequence
from itertools import count
from typing import ClassVar, Final

from .api import has_function, library
from .process_table import ProcessEntry
from .services import ServiceTable

SHARED_HOST: Final = "svchost"

_NAME_FROM_TAG: Final = 1
# Pids of Windows are multiples of four.
_FIRST_KEY: Final = 0xC000_0001
_KEY_STEP: Final = 4


class ServiceOwnerKeys:
    """Owner keys for pairs of a pid and a service; any other owner key is a pid.

    read_service_name: returns the service of a pid and a tag, empty if it is unknown.
    """

    def __init__(
        self,
        services: ServiceTable,
        read_service_name: Callable[[int, int], str] | None = None,
    ) -> None:
        self._services = services
        self._read_service_name = read_service_name or read_service_name_of_tag
        self._names: dict[tuple[int, int, int], str] = {}
        self._owner_keys: dict[tuple[int, str], int] = {}
        self._pairs: dict[int, tuple[int, str]] = {}
        self._numbers = count(_FIRST_KEY, _KEY_STEP)

    def assign(
        self, pids: array[int], tags: Sequence[int], processes: Mapping[int, ProcessEntry]
    ) -> array[int]:
        """Return the owner key of each row: its pid, unless its service is known and shares the process.

        50,000 rows take 4 ms where a process is shared.
        """
        shared = self._shared_pids(processes)
        rows = list(zip(pids, tags, strict=True)) if shared else []
        owner_keys = {
            (pid, tag): self._owner_key(pid, self._service(pid, processes[pid].created, tag))
            for pid, tag in set(rows)
            if tag and pid in shared
        }
        if not owner_keys:
            return pids
        return array("I", [owner_keys.get(row, row[0]) for row in rows])

    def split(self, owner_key: int) -> tuple[int, str]:
        """Return the pid and the service of an owner key; the service is empty if the key is a pid."""
        return self._pairs.get(owner_key, (owner_key, ""))

    def _shared_pids(self, processes: Mapping[int, ProcessEntry]) -> set[int]:
        hosts = [pid for pid, process in processes.items() if is_shared_host(process.name)]
        try:
            return self._services.shared_pids(hosts, processes.keys())
        except OSError:
            return set()

    def _service(self, pid: int, created: int, tag: int) -> str:
        """Return the service of a tag. A failure is not remembered."""
        key = pid, created, tag
        name = self._names.get(key) or self._read_service_name(pid, tag)
        if name:
            self._names[key] = name
        return name

    def _owner_key(self, pid: int, service: str) -> int:
        if not service:
            return pid
        pair = pid, service
        if pair not in self._owner_keys:
            self._owner_keys[pair] = owner_key = next(self._numbers)
            self._pairs[owner_key] = pair
        return self._owner_keys[pair]


def is_shared_host(executable: str) -> bool:
    """Return whether the executable runs services that are DLLs."""
    return executable.lower() == f"{SHARED_HOST}.exe"


class _TagQuery(ctypes.Structure):
    """TAG_INFO_NAME_FROM_TAG."""

    _fields_: ClassVar = [
        ("pid", ctypes.c_uint32),
        ("tag", ctypes.c_uint32),
        ("kind", ctypes.c_uint32),
        ("name", ctypes.c_void_p),
    ]


def read_service_name_of_tag(pid: int, tag: int) -> str:
    """Return the service of a process that has this tag; empty if the system does not tell."""
    if not has_function("advapi32", "I_QueryTagInformation"):
        return ""
    local_free = library("kernel32").LocalFree
    local_free.argtypes = [ctypes.c_void_p]
    query = _TagQuery(pid, tag)
    library("advapi32").I_QueryTagInformation(None, _NAME_FROM_TAG, ctypes.byref(query))
    if not query.name:
        return ""
    try:
        return ctypes.wstring_at(query.name)
    finally:
        local_free(query.name)
