"""Processes, and owners of sockets."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final, NamedTuple

UNKNOWN_PROCESS: Final = "unknown"
"""Value of the label `process` for sockets whose owner is unknown."""


class ProcessId(NamedTuple):
    """Identity of a process. A later process with the same pid has another one."""

    pid: int
    start_time: float
    """Seconds since boot (procfs) or since the epoch (psutil): for comparison only."""
    service: str = ""
    """Windows service that owns a socket in a process of several services; empty for the process itself."""

    def without_service(self) -> ProcessId:
        """Return the process itself."""
        return ProcessId(self.pid, self.start_time) if self.service else self


class Unowned(Enum):
    """Reason why a socket has no owner."""

    __hash__ = object.__hash__  # Enum.__hash__ is Python code, and this is called for every new socket

    RELEASED = "released"
    """No process has the socket open, and none is listening on its port: TIME_WAIT, orphans."""
    NOT_FOUND = "not_found"
    """The socket has an owner, but no process was found that has it open."""


Owner = ProcessId | Unowned


@dataclass(frozen=True, slots=True)
class Process:
    """Attributes of a process, for naming rules. Empty if unreadable."""

    pid: int
    started_at: float
    """Seconds since the epoch."""
    comm: str
    cmdline: tuple[str, ...] = ()
    username: str = ""
    cwd: str = ""
    cgroups: tuple[str, ...] = ()
    """Control group paths, as in /proc/PID/cgroup."""
    unit: str = ""
    """systemd unit, such as `cups.service`."""
    container: str = ""
    """Container id, 64 hexadecimal digits."""
    services: tuple[str, ...] = ()
    """Names of the Windows services that run in the process, such as `Spooler`."""


class ProcessUsage(NamedTuple):
    """Resource usage of a process."""

    cpu_seconds: float
    """User and system time."""
    resident_bytes: int
    virtual_bytes: int
    start_time: float
    """Seconds since the epoch."""
    open_fds: int
    """File descriptors; on Windows handles."""
