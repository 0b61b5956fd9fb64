"""Privilege of the exporter: which processes of other users it can inspect."""

from __future__ import annotations

from enum import Enum


class Privilege(Enum):
    """Privilege to read the file descriptors of other users' processes."""

    FULL = "full"
    """Both capabilities, CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH; administrator on Windows; root elsewhere."""
    ROOT_WITHOUT_CAPABILITIES = "root without capabilities"
    """Root that lacks one of the capabilities, as in a container."""
    NONE = "none"
