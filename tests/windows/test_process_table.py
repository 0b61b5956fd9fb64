"""Table of all processes of Windows."""

from __future__ import annotations

import struct

import pytest

from exporter.windows.process_table import ProcessEntry, ProcessTable, parse_process_table

ADDRESS = 0x7FF0_0000_1000
HEAD = struct.Struct("<II q II Q qqq HH4xQ i4x QQ II")
"""SYSTEM_PROCESS_INFORMATION up to SessionId; threads and more follow."""


def table(*processes: tuple[int, str, int, int], threads: int = 2) -> bytes:
    """A table of (pid, name, creation time, handles)."""
    raw = b""
    for position, (pid, name, created, handles) in enumerate(processes):
        text = name.encode("utf-16-le")
        size = HEAD.size + 80 * threads + len(text)
        is_last = position == len(processes) - 1
        name_at = ADDRESS + len(raw) + HEAD.size + 80 * threads if name else 0
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
