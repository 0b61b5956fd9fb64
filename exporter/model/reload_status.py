"""Outcome of the last reload of the configuration."""

from __future__ import annotations

from typing import NamedTuple


class ReloadStatus(NamedTuple):
    """Whether the last reload succeeded, and when the configuration in use was loaded."""

    success: bool
    timestamp: float
    """Seconds since the epoch."""
