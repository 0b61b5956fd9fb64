"""Privilege of the exporter on Linux: its effective capabilities, from /proc/self/status."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from ..model.privilege import Privilege
from .files import read_file

# capabilities(7); numbers in include/uapi/linux/capability.h. CAP_DAC_OVERRIDE includes CAP_DAC_READ_SEARCH.
_CAP_DAC_OVERRIDE: Final = 1 << 1
_CAP_DAC_READ_SEARCH: Final = 1 << 2
_CAP_SYS_PTRACE: Final = 1 << 19


def read_capabilities(procfs: Path) -> Privilege:
    """Return the privilege of this process: by its capabilities, or its user id if they are unreadable."""
    is_root = os.geteuid() == 0
    capabilities = _read_effective_capabilities(procfs)
    if capabilities is None:
        return Privilege.FULL if is_root else Privilege.NONE
    if capabilities & _CAP_SYS_PTRACE and capabilities & (_CAP_DAC_READ_SEARCH | _CAP_DAC_OVERRIDE):
        return Privilege.FULL
    return Privilege.ROOT_WITHOUT_CAPABILITIES if is_root else Privilege.NONE


def _read_effective_capabilities(procfs: Path) -> int | None:
    try:
        for line in read_file(f"{procfs}/self/status").splitlines():
            if line.startswith(b"CapEff:"):
                return int(line.split()[1], 16)
    except (OSError, ValueError, IndexError):
        pass
    return None
