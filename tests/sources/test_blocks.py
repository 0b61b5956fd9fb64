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


# How many KiB more are resident when of small ones every fiftieth is still in use.
KEPT = """
import sys
from exporter.sources import blocks

def resident():
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:"))

before = resident()
blocks_ = [bytearray(16 << 10) for _ in range(1000)]
blocks_ = blocks_[::50]
if sys.argv[1] == "given back":
    blocks.give_back_pages()
print(resident() - before)
"""

linux = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")


def said(program: str, *arguments: str) -> str:
    command = [sys.executable, "-c", program, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@linux
def test_freed_ones_are_not_kept() -> None:
    assert int(said(GROWN, "given back")) < 4 << 10


@linux
def test_pages_that_are_free_between_others_are_not_kept() -> None:
    assert int(said(KEPT, "not given back")) > 8 << 10
    assert int(said(KEPT, "given back")) < 4 << 10


@linux
@pytest.mark.parametrize("refused", ["ImportError", "MemoryError", "OSError"])
def test_nothing_is_done_where_ctypes_may_not_be_used(refused: str) -> None:
    program = f"""
import ctypes
from exporter.sources import blocks

def refuse(_):
    raise {refused}

ctypes.CDLL = refuse
blocks.give_back()
blocks.give_back_pages()
print(1)
"""
    assert said(program) == "1"


def test_nothing_is_done_on_another_system() -> None:
    program = """
import sys
from exporter.sources import blocks

sys.platform = "win32"
blocks.give_back()
blocks.give_back_pages()
print("ctypes" not in sys.modules)
"""
    assert said(program) == "True"
