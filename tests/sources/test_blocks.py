"""Big blocks of memory go back to the system when they are freed."""

from __future__ import annotations

import subprocess
import sys

import pytest

# How many KiB more are resident after tables have been made, and one of them again and again.
GROWN = """
import sys
from exporter.sources import blocks

def resident():
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:"))

if sys.argv[1] == "given back":
    blocks.give_back()
    blocks.give_back()
before = resident()
# The first block that is freed teaches the library to keep the others.
for size in (16, 12, 8, 4):
    blocks_ = [bytearray(size << 20) for _ in range(2)]
    keeps = bytearray(1 << 10)
    del blocks_
print(resident() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")
def test_freed_ones_are_not_kept() -> None:
    done = subprocess.run(
        [sys.executable, "-c", GROWN, "given back"], capture_output=True, text=True, check=True
    )
    assert int(done.stdout) < 4 << 10
