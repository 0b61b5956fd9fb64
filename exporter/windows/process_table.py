"""Names, creation times and handle counts of all processes, read with one call of ntdll.dll.

NtQuerySystemInformation(SystemProcessInformation) needs no rights on the processes, unlike OpenProcess().
https://learn.microsoft.com/windows/win32/api/winternl/nf-winternl-ntquerysysteminformation
"""

from __future__ import annotations

import ctypes
import struct
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Final, NamedTuple

from .api import STATUS_INFO_LENGTH_MISMATCH, library

FILETIME_UNIX_EPOCH: Final = 116_444_736_000_000_000
"""Start of the Unix epoch as FILETIME: units of 100 ns since 1601."""
FILETIME_PER_SECOND: Final = 10_000_000

_SYSTEM_PROCESS_INFORMATION: Final = 5
_MIN_BUFFER_BYTES: Final = 256 * 1024
_ROOM_BYTES: Final = 64 * 1024
# SYSTEM_PROCESS_INFORMATION of 64 bit Windows up to SessionId (winternl.h, and ntexapi.h of System Informer):
# NextEntryOffset, CreateTime, ImageName.Length, ImageName.Buffer, UniqueProcessId and HandleCount.
_ENTRY: Final = struct.Struct("<I28xq16xH6xQ8xQ8xI4x")


class ProcessEntry(NamedTuple):
    """One process of the table."""

    name: str
    """Name of the executable file, such as `spoolsv.exe`."""
    created: int
    """Creation time as FILETIME."""
    handles: int

    @property
    def started_at(self) -> float:
        """Creation time in seconds since the epoch."""
        return (self.created - FILETIME_UNIX_EPOCH) / FILETIME_PER_SECOND


class ProcessTable:
    """Table of all processes, read again if it is older than `max_age_seconds`."""

    def __init__(
        self,
        read: Callable[[], Mapping[int, ProcessEntry]] | None = None,
        clock: Callable[[], float] = time.monotonic,
        max_age_seconds: float = 0.5,
    ) -> None:
        self._read = read or read_process_table
        self._clock = clock
        self._max_age_seconds = max_age_seconds
        self._entries: Mapping[int, ProcessEntry] = {}
        self._expires_at = -1.0

    def entries(self) -> Mapping[int, ProcessEntry]:
        """Return the processes by pid. Raises OSError."""
        now = self._clock()
        if now >= self._expires_at:
            self._entries = self._read()
            self._expires_at = now + self._max_age_seconds
        return self._entries

    def entry(self, pid: int) -> ProcessEntry:
        """Return the process with this pid. Raises OSError if there is none."""
        try:
            return self.entries()[pid]
        except KeyError:
            raise ProcessLookupError(f"no process has the pid {pid}") from None


def read_process_table() -> dict[int, ProcessEntry]:
    """Return all processes by pid. Raises OSError."""
    query = library("ntdll").NtQuerySystemInformation
    size = _MIN_BUFFER_BYTES
    while True:
        buffer, needed = ctypes.create_string_buffer(size), ctypes.c_ulong()
        status = query(_SYSTEM_PROCESS_INFORMATION, buffer, size, ctypes.byref(needed)) & 0xFFFFFFFF
        if status == 0:
            return dict(parse_process_table(buffer.raw, ctypes.addressof(buffer)))
        if status != STATUS_INFO_LENGTH_MISMATCH:
            raise OSError(f"NtQuerySystemInformation: status {status:#010x}")
        size = max(2 * size, needed.value + _ROOM_BYTES)


def parse_process_table(raw: bytes, address: int) -> Iterator[tuple[int, ProcessEntry]]:
    """Yield pid and process of each entry.

    address: address of the first byte, since names are pointers into the table. Raises struct.error for a
    truncated table.
    """
    position = 0
    while True:
        next_entry, created, name_size, name_at, pid, handles = _ENTRY.unpack_from(raw, position)
        name_position = name_at - address if name_at else 0
        name = raw[name_position : name_position + name_size].decode("utf-16-le", "replace")
        yield pid, ProcessEntry(name, created, handles)
        if not next_entry:
            return
        position += next_entry
