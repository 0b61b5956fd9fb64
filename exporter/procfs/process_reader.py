"""Attributes of processes, from /proc."""

from __future__ import annotations

import errno
import os
import sys
from functools import lru_cache
from pathlib import Path
from typing import Final

from ..model.process import Process, ProcessId
from . import cgroup as control_groups
from .files import read_file

# proc_pid_stat(5): starttime is field 22, the 20th after the closing parenthesis of comm.
_START_TIME_FIELD: Final = 19

MAX_COMMAND_LINE_BYTES: Final = 128 * 1024
"""Maximum number of bytes read from /proc/PID/cmdline: the kernel's limit for one argument (MAX_ARG_STRLEN).

All arguments together can have 6 MiB, and a process can let that file show any of its memory (prctl(2),
PR_SET_MM_MAP) and change it before every collection. A pattern with nested repeats takes 11 ms for 128 KiB,
110 ms for 2 MiB."""


def list_pids(procfs: Path) -> list[int]:
    """Return the visible pids in ascending order, but init last.

    With socket activation, init also has sockets open that other processes serve: the latter are the owners.

    Raises OSError if there is no /proc, or an empty directory.
    """
    pids = sorted(int(name) for name in os.listdir(procfs) if name.isdigit())
    if not pids:
        raise FileNotFoundError(errno.ENOENT, "no processes: is /proc mounted there?", str(procfs))
    return [pid for pid in pids if pid != 1] + [pid for pid in pids if pid == 1]


class ProcfsProcessReader:
    """Reads attributes of processes from a /proc tree."""

    def __init__(self, procfs: Path) -> None:
        self._procfs = procfs

    def identify(self, pid: int) -> tuple[ProcessId, str]:
        """Return the process that has this pid now, and its comm. Raises OSError if there is none."""
        text = _read(f"{self._procfs}/{pid}/stat")
        try:
            opening, closing = text.index("("), text.rindex(")")
            ticks = int(text[closing + 2 :].split()[_START_TIME_FIELD])
        except (ValueError, IndexError) as error:
            raise ProcessLookupError(f"process {pid}: malformed stat") from error
        return ProcessId(pid, ticks / _ticks_per_second()), text[opening + 1 : closing]

    def describe(self, pid: int, details: bool) -> Process:
        """Return the attributes of a process; unreadable ones are empty. Raises OSError if there is none.

        details: read more than the comm.
        """
        identity, comm = self.identify(pid)
        started = self._read_boot_time() + identity.start_time
        if not details:
            return Process(pid, started, comm)
        cgroups = _read_or_empty(f"{self._procfs}/{pid}/cgroup")
        by_preference = control_groups.parse_paths_unified_first(cgroups)
        return Process(
            pid,
            started,
            comm,
            cmdline=self._read_cmdline(pid),
            username=self._read_username(pid),
            cwd=self._read_cwd(pid),
            cgroups=control_groups.parse_paths(cgroups),
            unit=control_groups.find_unit(by_preference),
            container=control_groups.find_container(by_preference),
        )

    def _read_boot_time(self) -> float:
        """Return the boot time in seconds since the epoch; 0 without /proc/stat (mount option subset=pid)."""
        try:
            return _read_btime(self._procfs)
        except OSError:
            return 0.0

    def _read_cmdline(self, pid: int) -> tuple[str, ...]:
        text = _read_or_empty(f"{self._procfs}/{pid}/cmdline", limit=MAX_COMMAND_LINE_BYTES)
        return tuple(text.rstrip("\0").split("\0")) if text else ()

    def _read_username(self, pid: int) -> str:
        try:
            return _look_up_username(os.stat(f"{self._procfs}/{pid}").st_uid)
        except OSError:
            return ""

    def _read_cwd(self, pid: int) -> str:
        try:
            return os.readlink(f"{self._procfs}/{pid}/cwd")
        except OSError:
            return ""


def read_network_namespace(process_directory: str) -> str | None:
    """Return the network namespace of a process, None if it is not readable.

    process_directory: `/proc/PID` or `/proc/self`.
    """
    try:
        return os.readlink(f"{process_directory}/ns/net")
    except OSError:
        return None


def _read(path: str, limit: int = sys.maxsize) -> str:
    return read_file(path, limit=limit).decode("utf-8", "surrogateescape")


def _read_or_empty(path: str, limit: int = sys.maxsize) -> str:
    try:
        return _read(path, limit)
    except OSError:
        return ""


@lru_cache(maxsize=1024)
def _look_up_username(uid: int) -> str:
    import pwd

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


@lru_cache(maxsize=1)
def _ticks_per_second() -> int:
    return os.sysconf("SC_CLK_TCK")


@lru_cache(maxsize=4)
def _read_btime(procfs: Path) -> float:
    for line in _read(f"{procfs}/stat").splitlines():
        if line.startswith("btime "):
            return float(line.split()[1])
    return 0.0
