"""File descriptors are reserved for the exporter itself."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytest.importorskip("resource", reason="Windows has no limit on descriptors")

PROGRAM = """
import resource
resource.setrlimit(resource.RLIMIT_NOFILE, ({soft}, {hard}))
from exporter.runtime import raise_fd_limit
print(raise_fd_limit(512), *resource.getrlimit(resource.RLIMIT_NOFILE))
"""


def raised(soft: int, hard: int) -> list[int]:
    """How many of 512 connections fit, and the two limits then."""
    program = [sys.executable, "-c", PROGRAM.format(soft=soft, hard=hard)]
    return [int(word) for word in subprocess.run(program, check=True, capture_output=True).stdout.split()]


@pytest.mark.parametrize("soft", [60, 256, 500])
def test_low_soft_limit_is_raised(soft: int) -> None:
    assert raised(soft, 5000) == [512, 560, 5000]


def test_high_soft_limit_is_kept() -> None:
    assert raised(2000, 5000) == [512, 2000, 5000]


@pytest.mark.parametrize(("hard", "connections"), [(560, 512), (300, 252), (100, 52), (40, 1)])
def test_hard_limit_reduces_connections(hard: int, connections: int) -> None:
    assert raised(32, hard) == [connections, hard, hard]
