"""Open file descriptors of a process and their limit (proc_pid_fd(5), proc_pid_limits(5))."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from pathlib import Path
from typing import Final

from ..model.host import FdUsage
from .files import read_file
from .thread_fds import find_thread_with_fds

_SOFT_LIMIT: Final = re.compile(rb"^Max open files +(?:([0-9]+)|unlimited) ", re.MULTILINE)


def read_fd_usage(procfs: Path, pid: int) -> FdUsage:
    """Return the number of open descriptors and the limit. Raises OSError if the process is not readable."""
    return FdUsage(count_open_fds(procfs, pid), read_fd_limit(procfs, pid))


def count_open_fds(procfs: Path, pid: int) -> int:
    """Return the number of open descriptors. Raises OSError if the process has vanished or is not readable.

    Since Linux 6.2 (commit f1f1f2569901) one stat(2) returns it, for processes of every user. On older
    kernels, where it returns 0, the directory is listed, which requires CAP_DAC_READ_SEARCH for processes of
    other users (and opens a descriptor in the exporter itself). If the main thread has exited, the
    descriptors are those of another one.
    """
    directory = f"{procfs}/{pid}/fd"
    if count := os.stat(directory).st_size:
        return count
    with suppress(PermissionError):
        if count := len(os.listdir(directory)):
            return count
    tid = find_thread_with_fds(procfs, pid)
    return len(os.listdir(f"{procfs}/{pid}/task/{tid}/fd" if tid else directory))


def read_fd_limit(procfs: Path, pid: int) -> int | None:
    """Return the soft limit (RLIMIT_NOFILE), None for no limit. Raises OSError if the process has vanished.

    Readable for every user. Takes five times as long as counting the open descriptors.
    """
    match = _SOFT_LIMIT.search(read_file(f"{procfs}/{pid}/limits"))
    if match is None:
        raise ProcessLookupError(f"process {pid}: malformed limits")
    return int(match[1]) if match[1] else None
