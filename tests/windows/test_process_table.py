"""Table of all processes of Windows."""

from __future__ import annotations

import ctypes
import struct
from typing import Final

import pytest

from exporter.windows.process_table import (
    ProcessEntry,
    ProcessTable,
    parse_process_table,
    read_process_table,
)

from .fake_dlls import DWORD, POINTER, FakeDlls, write_dword

LENGTH_MISMATCH: Final = 0xC0000004
ACCESS_DENIED: Final = 0xC0000022

ADDRESS = 0x7FF0_0000_1000
HEAD = struct.Struct("<II q II Q qqq HH4xQ i4x QQ II")
"""SYSTEM_PROCESS_INFORMATION up to SessionId; threads and more follow."""


def table(*processes: tuple[int, str, int, int], threads: int = 2, address: int = ADDRESS) -> bytes:
    """A table of (pid, name, creation time, handles), whose first byte is at the address."""
    raw = b""
    for position, (pid, name, created, handles) in enumerate(processes):
        text = name.encode("utf-16-le")
        size = HEAD.size + 80 * threads + len(text)
        is_last = position == len(processes) - 1
        name_at = address + len(raw) + HEAD.size + 80 * threads if name else 0
        fields = 0 if is_last else size, threads, 1, 2, 3, 4, created, 5, 6
        raw += HEAD.pack(*fields, len(text), len(text) + 2, name_at, 8, pid, 4, handles, 1)
        raw += bytes(80 * threads) + text
    return raw


def test_each_process_has_its_name_creation_time_and_handles() -> None:
    raw = table((0, "", 0, 0), (4, "System", 5, 3000), (1234, "Drücker.exe", 132_000_000_000_000_000, 12_001))
    assert dict(parse_process_table(raw, ADDRESS)) == {
        0: ProcessEntry("", 0, 0),
        4: ProcessEntry("System", 5, 3000),
        1234: ProcessEntry("Drücker.exe", 132_000_000_000_000_000, 12_001),
    }


def test_creation_time_is_converted_to_the_unix_epoch() -> None:
    assert ProcessEntry("a.exe", 116_444_736_000_000_000 + 15_000_000, 0).started_at == 1.5


def test_truncated_table_is_an_error() -> None:
    with pytest.raises(struct.error):
        list(parse_process_table(table((4, "System", 5, 3000))[:50], ADDRESS))


def test_table_is_read_again_only_when_it_is_old() -> None:
    now = 100.0
    reads = [{4: ProcessEntry("a.exe", 1, 1)}, {5: ProcessEntry("b.exe", 2, 2)}]
    processes = ProcessTable(lambda: reads.pop(0), lambda: now, max_age_seconds=0.5)
    assert processes.entry(4).name == "a.exe"
    now += 0.4
    with pytest.raises(ProcessLookupError):
        processes.entry(5)
    now += 0.2
    assert processes.entry(5).name == "b.exe"


class ProcessQuery:
    """NtQuerySystemInformation. Each call finds `growth` more processes than the one before."""

    def __init__(self, dlls: FakeDlls, count: int, growth: int = 0, status: int = 0) -> None:
        self.sizes: list[int] = []

        @dlls.define("ntdll", "NtQuerySystemInformation", DWORD, DWORD, POINTER, DWORD, POINTER)
        def _(information: int, buffer: int, size: int, needed_at: int) -> int:
            assert information == 5  # SystemProcessInformation
            processes = count + growth * len(self.sizes)
            self.sizes.append(size)
            if status:
                return status
            rows = [(4 + number, "svchost.exe", 1, 500) for number in range(processes)]
            raw = table(*rows, address=buffer)
            write_dword(needed_at, len(raw))
            if len(raw) > size:
                return LENGTH_MISMATCH
            ctypes.memmove(buffer, raw, len(raw))
            return 0


def test_all_processes_are_read_with_one_call(dlls: FakeDlls) -> None:
    query = ProcessQuery(dlls, 100)
    entries = read_process_table()
    assert len(entries) == 100
    assert entries[4] == ProcessEntry("svchost.exe", 1, 500)
    assert len(query.sizes) == 1


def test_table_that_grows_between_calls_is_read_completely(dlls: FakeDlls) -> None:
    query = ProcessQuery(dlls, 1000, growth=800)
    assert len(read_process_table()) == 1000 + 800 * (len(query.sizes) - 1)
    assert len(query.sizes) > 1


def test_other_failure_is_an_error_with_its_status(dlls: FakeDlls) -> None:
    ProcessQuery(dlls, 1, status=ACCESS_DENIED)
    with pytest.raises(OSError, match="status 0xc0000022"):
        read_process_table()
