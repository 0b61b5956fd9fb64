"""Attributes of processes on Windows."""

from __future__ import annotations

import os

import psutil
import pytest

from exporter.model.process import Process, ProcessId
from exporter.windows.process_table import FILETIME_UNIX_EPOCH, ProcessEntry, ProcessTable
from exporter.windows.service_tags import ServiceOwnerKeys
from exporter.windows.services import ServiceTable
from exporter.windows.windows_processes import WindowsProcessReader

CREATED = FILETIME_UNIX_EPOCH + 20_000_000


def reader(name: str, services: dict[int, list[str]] | None = None, pid: int = 7) -> WindowsProcessReader:
    entries = {pid: ProcessEntry(name, CREATED, 100)}
    table = ServiceTable(lambda: services or {})
    return WindowsProcessReader(ProcessTable(lambda: entries), table, ServiceOwnerKeys(table))


@pytest.mark.parametrize(
    ("executable", "services", "expected"),
    [
        ("spoolsv.exe", ["Spooler"], "spoolsv"),
        ("Print.EXE", [], "Print"),
        ("System", [], "System"),
        ("svchost.exe", ["Dnscache"], "svchost:Dnscache"),
        ("svchost.exe", ["mpssvc", "BFE"], "svchost:BFE+mpssvc"),
        ("svchost.exe", [], "svchost"),
        ("", [], "7"),
    ],
)
def test_name_is_the_executable_or_the_services_of_svchost(
    executable: str, services: list[str], expected: str
) -> None:
    assert reader(executable, {7: services}).identify(7) == (ProcessId(7, 2.0), expected)


def test_services_are_attributes_of_the_process() -> None:
    assert reader("spoolsv.exe", {7: ["Spooler"]}).describe(7, details=False) == Process(
        7, 2.0, "spoolsv", services=("Spooler",)
    )


def test_details_come_from_the_system() -> None:
    described = reader("python.exe", pid=os.getpid()).describe(os.getpid(), details=True)
    assert described.cmdline == tuple(psutil.Process().cmdline())
    assert described.comm == "python"


def test_details_are_read_where_psutil_cannot_read_the_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """It opens the process for the name, which is in the table of all processes already."""

    def fail(_: psutil.Process) -> str:
        raise OSError(22, "Invalid parameter")

    monkeypatch.setattr(psutil.Process, "name", fail)
    described = reader("python.exe", pid=os.getpid()).describe(os.getpid(), details=True)
    assert described.cmdline == tuple(psutil.Process().cmdline())


def test_absent_process_is_an_error() -> None:
    with pytest.raises(ProcessLookupError):
        reader("a.exe").identify(8)


def test_processes_are_named_where_services_are_unreadable() -> None:
    def fail() -> dict[int, list[str]]:
        raise PermissionError

    entries = {7: ProcessEntry("svchost.exe", CREATED, 100)}
    table = ServiceTable(fail)
    tested = WindowsProcessReader(ProcessTable(lambda: entries), table, ServiceOwnerKeys(table))
    assert tested.identify(7)[1] == "svchost"
