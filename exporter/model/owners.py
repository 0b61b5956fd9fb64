"""Processes, and what is known of who owns a socket."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final, NamedTuple

UNKNOWN_PROCESS: Final = "unknown"
"""The name of the process where a socket's owner is not known: value of the label `process`."""


class ProcessId(NamedTuple):
    """A process for its whole life, even when the pid is used again later."""

    pid: int
    start_time: float


class Unowned(Enum):
    """Why a socket has no owner."""

    __hash__ = object.__hash__  # Enum's own runs Python code, and this is hashed for every new socket

    RELEASED = "released"
    """The kernel names no holder and no listener stands on its port: TIME_WAIT, orphans."""
    NOT_FOUND = "not_found"
    """It has a holder, but no process was seen holding it."""


Owner = ProcessId | Unowned


@dataclass(frozen=True, slots=True)
class Process:
    """What naming rules may ask of a process. Empty where it could not be read."""

    pid: int
    start_time: float
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
