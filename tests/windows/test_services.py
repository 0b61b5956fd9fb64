"""Services of Windows by process."""

from __future__ import annotations

import ctypes
import struct
from typing import Final

import pytest

from exporter.windows.services import ServiceTable, read_services

from .fake_dlls import DWORD, HANDLE, POINTER, FakeDlls, read_dword, write_dword

ACCESS_DENIED: Final = 5
MORE_DATA: Final = 234


class Clock:
    """Clock and reader of services that count."""

    def __init__(self) -> None:
        self.now = 0.0
        self.reads = 0

    def read(self) -> dict[int, list[str]]:
        self.reads += 1
        return {7: ["Spooler"], 8: ["mpssvc", "BFE"]}


def test_services_are_read_again_after_ten_seconds_or_for_a_new_process() -> None:
    clock = Clock()
    services = ServiceTable(clock.read, lambda: clock.now)
    assert services.names(7, {7, 8}) == ("Spooler",)
    assert services.names(8, {7, 8}) == ("BFE", "mpssvc")
    assert clock.reads == 1
    assert services.names(9, {7, 8, 9}) == ()
    assert clock.reads == 2
    assert services.names(9, {7, 8, 9}) == ()
    assert clock.reads == 2
    clock.now = 10.0
    services.names(7, {7, 8, 9})
    assert clock.reads == 3


def test_process_that_is_absent_from_the_table_causes_no_further_reads() -> None:
    clock = Clock()
    services = ServiceTable(clock.read, lambda: clock.now)
    services.names(9, {7})
    services.names(9, {7})
    assert clock.reads == 1


class ServiceManager:
    """The service manager of advapi32.dll, which returns `per_call` services in a call."""

    HANDLE: Final = 0x1_2345_6789_0000
    """A handle of more than 32 bits."""

    def __init__(
        self, dlls: FakeDlls, services: list[tuple[str, int]], per_call: int, status: int = 0
    ) -> None:
        self.calls: list[int] = []
        self.is_open = False
        self._strings: list[object] = []

        @dlls.define("advapi32", "OpenSCManagerW", HANDLE, POINTER, POINTER, DWORD)
        def _(_machine: int, _database: int, access: int) -> int:
            assert access == 0x0001 | 0x0004  # SC_MANAGER_CONNECT, SC_MANAGER_ENUMERATE_SERVICE
            if status == ACCESS_DENIED:
                dlls.last_error = status
                return 0
            self.is_open = True
            return self.HANDLE

        @dlls.define("advapi32", "CloseServiceHandle", DWORD, HANDLE)
        def _(handle: int) -> int:
            assert handle == self.HANDLE
            self.is_open = False
            return 1

        pointers = POINTER, POINTER, POINTER, POINTER

        @dlls.define(
            "advapi32", "EnumServicesStatusExW", DWORD,
            HANDLE, DWORD, DWORD, DWORD, POINTER, DWORD, *pointers,
        )  # fmt: skip
        def _(
            handle: int, level: int, kind: int, state: int, buffer: int, size: int,
            needed_at: int, count_at: int, resume_at: int, group: int | None,
        ) -> int:  # fmt: skip
            assert (handle, level, kind, state, group) == (self.HANDLE, 0, 0x30, 1, None)
            assert size <= 256 * 1024
            if status:
                dlls.last_error = status
                return 0
            first = read_dword(resume_at)
            self.calls.append(first)
            part = services[first : first + per_call]
            for position, (name, pid) in enumerate(part):
                text = ctypes.create_unicode_buffer(name)
                self._strings.append(text)
                entry = struct.pack("<QQ9I4x", ctypes.addressof(text), 0, 0x20, 4, 0, 0, 0, 0, 0, pid, 0)
                ctypes.memmove(buffer + position * len(entry), entry, len(entry))
            write_dword(count_at, len(part))
            if first + per_call < len(services):
                write_dword(resume_at, first + per_call)
                write_dword(needed_at, 56 * (len(services) - first - per_call))
                dlls.last_error = MORE_DATA
                return 0
            write_dword(resume_at, 0)
            return 1


SERVICES: Final = [("Spooler", 7), ("BFE", 8), ("mpssvc", 8), ("Stopped", 0), ("Dnscache", 9)]


@pytest.mark.parametrize(("per_call", "calls"), [(5, [0]), (2, [0, 2, 4]), (1, [0, 1, 2, 3, 4])])
def test_services_are_read_in_as_many_calls_as_it_takes(
    dlls: FakeDlls, per_call: int, calls: list[int]
) -> None:
    manager = ServiceManager(dlls, SERVICES, per_call)
    assert read_services() == {7: ["Spooler"], 8: ["BFE", "mpssvc"], 9: ["Dnscache"]}
    assert manager.calls == calls
    assert not manager.is_open


@pytest.mark.parametrize("status", [ACCESS_DENIED, 6])
def test_failure_is_an_error_and_closes_the_service_manager(dlls: FakeDlls, status: int) -> None:
    manager = ServiceManager(dlls, SERVICES, 5, status)
    with pytest.raises(OSError, match=f"Windows error {status}"):
        read_services()
    assert not manager.is_open


def test_host_without_services_has_none(dlls: FakeDlls) -> None:
    ServiceManager(dlls, [], 5)
    assert read_services() == {}


def test_shared_processes_are_those_of_several_services() -> None:
    services = ServiceTable(Clock().read)
    assert services.shared_pids({7, 8, 9}, {7, 8, 9}) == {8}


def test_new_process_that_runs_no_services_causes_no_read() -> None:
    """Processes come and go; the service manager is asked for those that may be services only."""
    clock = Clock()
    services = ServiceTable(clock.read, lambda: clock.now)
    services.shared_pids({7, 8}, {7, 8, 100})
    services.shared_pids({7, 8}, {7, 8, 101})
    assert clock.reads == 1
    services.shared_pids({7, 8, 9}, {7, 8, 9, 101})
    assert clock.reads == 2
