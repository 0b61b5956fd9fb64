"""Memory is released to the system, garbage collection is paused, and file descriptors are reserved."""

from __future__ import annotations

import gc
import importlib.util
import subprocess
import sys
from collections.abc import Iterator

import pytest

from exporter.runtime import MMAP_THRESHOLD, freeze_startup_objects, gc_paused

RESIDENT = """
import sys
from exporter import runtime

def resident():
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:"))
"""

# Prints how many KiB more are resident after large blocks have been allocated and freed.
FREES_LARGE_BLOCKS = f"""{RESIDENT}
runtime.set_mmap_threshold()
runtime.set_mmap_threshold()
before = resident()
# The first block that is freed raises the threshold of a libc that was not configured.
for size in (16, 12, 8, 4):
    blocks = [bytearray(size << 20) for _ in range(2)]
    separator = bytearray(1 << 10)
    del blocks
print(resident() - before)
"""

# Prints how many KiB more are resident when every fiftieth of the small blocks is still in use.
FREES_SMALL_BLOCKS = f"""{RESIDENT}
before = resident()
blocks = [bytearray(16 << 10) for _ in range(1000)]
blocks = blocks[::50]
if sys.argv[1] == "trimmed":
    runtime.trim_heap()
print(resident() - before)
"""

# Prints the connections that fit, of 512, and the soft and the hard limit then.
RAISES_FD_LIMIT = """
import resource
resource.setrlimit(resource.RLIMIT_NOFILE, ({soft}, {hard}))
from exporter.runtime import raise_fd_limit
print(raise_fd_limit(512), *resource.getrlimit(resource.RLIMIT_NOFILE))
"""

linux = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")


def output_of(program: str, *arguments: str) -> str:
    command = [sys.executable, "-c", program, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


class TestHeap:
    @linux
    def test_freed_large_blocks_return_to_the_system(self) -> None:
        assert int(output_of(FREES_LARGE_BLOCKS)) < 4 << 10

    @linux
    def test_trim_returns_free_pages_between_used_ones(self) -> None:
        assert int(output_of(FREES_SMALL_BLOCKS, "not trimmed")) > 8 << 10
        assert int(output_of(FREES_SMALL_BLOCKS, "trimmed")) < 4 << 10

    def test_threshold_is_256_kib(self) -> None:
        assert MMAP_THRESHOLD == 262_144

    @linux
    @pytest.mark.parametrize("error", ["ImportError", "MemoryError", "OSError"])
    def test_no_effect_where_ctypes_is_forbidden(self, error: str) -> None:
        program = f"""
import ctypes
from exporter import runtime

def refuse(_):
    raise {error}

ctypes.CDLL = refuse
runtime.set_mmap_threshold()
runtime.trim_heap()
print(1)
"""
        assert output_of(program) == "1"

    def test_ctypes_is_not_imported_on_other_systems(self) -> None:
        program = """
import sys
from exporter import runtime

sys.platform = "win32"
runtime.set_mmap_threshold()
runtime.trim_heap()
print("ctypes" not in sys.modules)
"""
        assert output_of(program) == "True"


@pytest.fixture
def collector_enabled() -> Iterator[None]:
    gc.enable()
    yield
    gc.enable()
    gc.unfreeze()


@pytest.mark.usefixtures("collector_enabled")
class TestGarbageCollector:
    def test_is_disabled_while_paused(self) -> None:
        with gc_paused():
            assert not gc.isenabled()
        assert gc.isenabled()

    def test_is_enabled_again_after_an_exception(self) -> None:
        with pytest.raises(KeyError), gc_paused():
            raise KeyError
        assert gc.isenabled()

    def test_stays_disabled_if_it_was(self) -> None:
        gc.disable()
        with gc_paused():
            pass
        assert not gc.isenabled()

    def test_ignores_startup_objects_once_frozen(self) -> None:
        freeze_startup_objects()
        assert gc.get_freeze_count() > 1_000


@pytest.mark.skipif(importlib.util.find_spec("resource") is None, reason="Windows has no RLIMIT_NOFILE")
class TestFdLimit:
    """48 file descriptors are reserved for the exporter itself."""

    @staticmethod
    def raised(soft: int, hard: int) -> list[int]:
        """Return how many of 512 connections fit, and the two limits then."""
        return [int(word) for word in output_of(RAISES_FD_LIMIT.format(soft=soft, hard=hard)).split()]

    @pytest.mark.parametrize("soft", [60, 256, 500])
    def test_low_soft_limit_is_raised(self, soft: int) -> None:
        assert self.raised(soft, 5000) == [512, 560, 5000]

    def test_high_soft_limit_is_kept(self) -> None:
        assert self.raised(2000, 5000) == [512, 2000, 5000]

    @pytest.mark.parametrize(("hard", "connections"), [(560, 512), (300, 252), (100, 52), (40, 1)])
    def test_hard_limit_reduces_connections(self, hard: int, connections: int) -> None:
        assert self.raised(32, hard) == [connections, hard, hard]
