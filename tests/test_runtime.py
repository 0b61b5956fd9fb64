"""Memory goes back to the system, and the garbage collector is paused during a collection."""

from __future__ import annotations

import gc
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
    keeps = bytearray(1 << 10)
    del blocks
print(resident() - before)
"""

# Prints how many KiB more are resident when of small blocks every fiftieth is still in use.
FREES_SMALL_BLOCKS = f"""{RESIDENT}
before = resident()
blocks = [bytearray(16 << 10) for _ in range(1000)]
blocks = blocks[::50]
if sys.argv[1] == "trimmed":
    runtime.trim_heap()
print(resident() - before)
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
