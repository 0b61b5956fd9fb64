"""Windows services by process (EnumServicesStatusExW), and the service of a socket in a shared process.

https://learn.microsoft.com/windows/win32/api/winsvc/nf-winsvc-enumservicesstatusexw
"""

from __future__ import annotations

import ctypes
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping
from ctypes import wintypes
from typing import ClassVar, Final

from .api import ERROR_MORE_DATA, last_error, library, windows_error

# Of 32 bits on all systems, unlike wintypes.DWORD, so that tests can run it on Linux.
_DWORD: Final = ctypes.c_uint32
_SC_MANAGER_CONNECT: Final = 1
_SC_MANAGER_ENUMERATE_SERVICE: Final = 4
_SERVICE_WIN32: Final = 0x30
_SERVICE_ACTIVE: Final = 1
# The function does not take a larger buffer; it continues in the next call.
_BUFFER_BYTES: Final = 256 * 1024


class _ServiceStatus(ctypes.Structure):
    """ENUM_SERVICE_STATUS_PROCESSW (winsvc.h)."""

    _fields_: ClassVar = [
        ("name", wintypes.LPWSTR),
        ("display_name", wintypes.LPWSTR),
        ("type", _DWORD),
        ("state", _DWORD),
        ("controls", _DWORD),
        ("exit_code", _DWORD),
        ("specific_exit_code", _DWORD),
        ("checkpoint", _DWORD),
        ("wait_hint", _DWORD),
        ("pid", _DWORD),
        ("flags", _DWORD),
    ]


class ServiceTable:
    """Names of the running services by pid, read again after REFRESH_SECONDS or for an unknown process."""

    REFRESH_SECONDS: Final = 10.0

    def __init__(
        self,
        read: Callable[[], Mapping[int, Collection[str]]] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._read = read or read_services
        self._clock = clock
        self._names: Mapping[int, Collection[str]] = {}
        self._expires_at = -1.0
        self._pids: frozenset[int] = frozenset()

    def names(self, pid: int, pids: Collection[int]) -> tuple[str, ...]:
        """Return the names of the services that a process runs, in alphabetical order.

        pids: all processes: a new one may be a new service. Raises OSError.
        """
        self._refresh(pids, (pid,))
        return tuple(sorted(self._names.get(pid, ()), key=str.lower))

    def shared_pids(self, hosts: Collection[int], pids: Collection[int]) -> set[int]:
        """Return those of the hosts that run several services. Raises OSError.

        hosts: processes that may run services: a new one may be a new service.
        pids: all processes.
        """
        self._refresh(pids, hosts)
        return {pid for pid in hosts if len(self._names.get(pid, ())) > 1}

    def _refresh(self, pids: Collection[int], requested: Collection[int]) -> None:
        now = self._clock()
        if now >= self._expires_at or not self._pids.issuperset(requested):
            self._names = self._read()
            self._pids = frozenset((*pids, *requested))
            self._expires_at = now + self.REFRESH_SECONDS


def read_services() -> dict[int, list[str]]:
    """Return the names of the running services by pid. Raises OSError."""
    advapi32 = library("advapi32")
    advapi32.OpenSCManagerW.restype = wintypes.HANDLE
    advapi32.CloseServiceHandle.argtypes = [wintypes.HANDLE]
    enumerate_services = advapi32.EnumServicesStatusExW
    enumerate_services.argtypes = [
        wintypes.HANDLE,
        ctypes.c_int,
        _DWORD,
        _DWORD,
        ctypes.c_void_p,
        _DWORD,
        *[ctypes.POINTER(_DWORD)] * 3,
        wintypes.LPCWSTR,
    ]
    manager = advapi32.OpenSCManagerW(None, None, _SC_MANAGER_CONNECT | _SC_MANAGER_ENUMERATE_SERVICE)
    if not manager:
        raise windows_error()
    names: defaultdict[int, list[str]] = defaultdict(list)
    buffer = ctypes.create_string_buffer(_BUFFER_BYTES)
    needed, count, resume = _DWORD(), _DWORD(), _DWORD()
    try:
        while True:
            done = enumerate_services(
                manager,
                0,  # SC_ENUM_PROCESS_INFO, the only level
                _SERVICE_WIN32,
                _SERVICE_ACTIVE,
                buffer,
                _BUFFER_BYTES,
                ctypes.byref(needed),
                ctypes.byref(count),
                ctypes.byref(resume),
                None,
            )
            error = last_error()
            if not done and error != ERROR_MORE_DATA:
                raise windows_error(error)
            for service in (_ServiceStatus * count.value).from_buffer(buffer):
                if service.pid:
                    names[service.pid].append(service.name)
            if done:
                return dict(names)
    finally:
        advapi32.CloseServiceHandle(manager)
