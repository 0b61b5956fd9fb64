"""Workers of a master process, which has a listener open together with them."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Final

from .files import read_file
from .process_reader import ProcfsProcessReader

_SERVICE_MANAGERS: Final = frozenset({"init", "systemd"})
"""Processes with listeners of services that have not started yet: their children are no workers."""


def read_workers(procfs: Path, pid: int) -> list[int]:
    """Return the pids of the children of a process that have its comm, in ascending order.

    Children that another thread than the main thread has forked are missing; so are all if the kernel was
    built without CONFIG_PROC_CHILDREN (proc_pid_task(5)). Raises OSError if there is no such process.
    """
    reader = ProcfsProcessReader(procfs)
    _, comm = reader.identify(pid)
    if comm in _SERVICE_MANAGERS:
        return []
    workers = []
    for child in map(int, read_file(f"{procfs}/{pid}/task/{pid}/children").split()):
        with suppress(OSError):  # it has exited
            if reader.identify(child)[1] == comm:
                workers.append(child)
    return sorted(workers)
