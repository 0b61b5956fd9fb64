"""Whether faults can be made here that need namespaces of their own."""

from __future__ import annotations

import shutil
import subprocess


def can(*command: str) -> bool:
    """Whether the command is there and succeeds."""
    there = shutil.which(command[0]) is not None
    return there and subprocess.run(command, capture_output=True, check=False).returncode == 0
