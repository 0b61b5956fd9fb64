"""How many descriptors a process has open, and may have open (proc_pid_fd(5), proc_pid_limits(5))."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final

from ..model.host import FdUsage
from .files import read_whole

_SOFT_LIMIT: Final = re.compile(rb"^Max open files +(?:([0-9]+)|unlimited) ", re.MULTILINE)


def descriptors(procfs: Path, pid: int) -> FdUsage:
    """Both figures. Raises OSError as the two functions below."""
    return FdUsage(open_descriptors(procfs, pid), descriptor_limit(procfs, pid))


def open_descriptors(procfs: Path, pid: int) -> int:
    """How many descriptors are open. Raises OSError when the process is gone, or may not be looked into.

    Linux 6.2 tells with one stat (commit f1f1f2569901), of anybody's process. Older ones say 0: there
    they are listed, which takes CAP_DAC_READ_SEARCH for other users' processes (and opens one in ours).
    """
    directory = f"{procfs}/{pid}/fd"
    return os.stat(directory).st_size or len(os.listdir(directory))


def descriptor_limit(procfs: Path, pid: int) -> int | None:
    """The soft limit (RLIMIT_NOFILE), None for no limit; everybody may read it. Changes hardly ever,
    and costs five times what the count does: worth remembering. Raises OSError when the process is gone.
    """
    match = _SOFT_LIMIT.search(read_whole(f"{procfs}/{pid}/limits"))
    if match is None:
        raise ProcessLookupError(f"process {pid}: limits make no sense")
    return int(match[1]) if match[1] else None
