"""Checks whether namespaces can be created on this host."""

from __future__ import annotations

import shutil
import subprocess


def can(*command: str) -> bool:
    """Return whether a command exists and succeeds."""
    there = shutil.which(command[0]) is not None
    return there and subprocess.run(command, capture_output=True, check=False).returncode == 0
