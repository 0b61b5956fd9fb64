"""Process attributes: read when needed, re-checked at each refresh, kept while used."""

from __future__ import annotations

import errno
import sys

import pytest

from exporter.model.process import Process, ProcessId
from exporter.owners.process_cache import ProcessCache
from exporter.procfs.process_reader import ProcfsProcessReader

from ..procfs.trees import TICKS, Tree

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")

PID = 500


class Counting(ProcfsProcessReader):
    """Counts the descriptions read, and can fail."""

    descriptions = 0
    failure: OSError | None = None

    def identify(self, pid: int) -> tuple[ProcessId, str]:
        if self.failure:
            raise self.failure
        return super().identify(pid)

    def describe(self, pid: int, details: bool) -> Process:
        self.descriptions += 1
        return super().describe(pid, details)


@pytest.fixture
def reader(tree: Tree) -> Counting:
    tree.process(PID, comm="worker", started=7 * TICKS, cmdline="worker\0one\0")
    return Counting(tree.root)


@pytest.fixture(params=[False, True], ids=["comm only", "details"])
def cache(reader: Counting, request: pytest.FixtureRequest) -> ProcessCache:
    return ProcessCache(reader, details=request.param)


def test_a_process_is_described_once(cache: ProcessCache, reader: Counting) -> None:
    first, second = cache.load(PID), cache.load(PID)
    assert first == second == ProcessId(PID, 7.0)
    assert reader.descriptions == 1
    assert cache.get(first).comm == "worker"


def test_unused_pid_raises(cache: ProcessCache) -> None:
    with pytest.raises(FileNotFoundError):
        cache.load(PID + 1)


def test_unknown_process_raises_key_error(cache: ProcessCache) -> None:
    with pytest.raises(KeyError):
        cache.get(ProcessId(PID, 7.0))


def test_changed_comm_is_read_at_the_next_refresh(cache: ProcessCache, tree: Tree) -> None:
    owner = cache.load(PID)
    tree.name(PID, "renamed", started=7 * TICKS)
    assert cache.get(owner).comm == "worker"
    assert cache.refresh() == set()
    assert cache.get(owner).comm == "renamed"


def test_only_a_changed_comm_is_described_again(reader: Counting, tree: Tree) -> None:
    cache = ProcessCache(reader)
    owner = cache.load(PID)
    for _ in range(3):
        cache.refresh()
    assert reader.descriptions == 1
    tree.name(PID, "renamed", started=7 * TICKS)
    cache.refresh()
    assert reader.descriptions == 2
    assert cache.get(owner).cmdline == ()


def test_details_are_read_at_each_refresh(reader: Counting, tree: Tree) -> None:
    """A program may run another (exec) that has the same comm."""
    cache = ProcessCache(reader, details=True)
    owner = cache.load(PID)
    assert cache.get(owner).cmdline == ("worker", "one")
    (tree.root / str(PID) / "cmdline").write_bytes(b"worker\0two\0")
    cache.refresh()
    assert cache.get(owner).cmdline == ("worker", "two")


def test_unchanged_attributes_stay_the_same_object(cache: ProcessCache, tree: Tree) -> None:
    """The name of a process is made again for another object only."""
    owner = cache.load(PID)
    before = cache.get(owner)
    cache.refresh()
    assert cache.get(owner) is before
    tree.name(PID, "renamed", started=7 * TICKS)
    cache.refresh()
    assert cache.get(owner) is not before


def test_vanished_processes_are_returned_once_and_kept(cache: ProcessCache, tree: Tree) -> None:
    owner = cache.load(PID)
    tree.kill(PID)
    assert cache.refresh() == {owner}
    assert cache.refresh() == set()
    assert cache.get(owner).comm == "worker"


def test_vanished_processes_are_kept_while_used(cache: ProcessCache, tree: Tree) -> None:
    tree.process(PID + 1, comm="other")
    one, other, living = cache.load(PID), cache.load(PID + 1), cache.load(1)
    tree.kill(PID)
    tree.kill(PID + 1)
    assert cache.refresh() == {one, other}
    cache.retain({one})
    assert cache.get(one).comm == "worker"
    assert cache.get(living).comm == "init"
    with pytest.raises(KeyError):
        cache.get(other)
    cache.retain(set())
    assert cache.get(living).comm == "init"
    with pytest.raises(KeyError):
        cache.get(one)


def test_reused_pid_is_another_process(cache: ProcessCache, tree: Tree) -> None:
    before = cache.load(PID)
    tree.kill(PID)
    tree.process(PID, comm="successor", started=8 * TICKS)
    assert cache.refresh() == {before}
    after = cache.load(PID)
    assert after == ProcessId(PID, 8.0)
    assert (cache.get(before).comm, cache.get(after).comm) == ("worker", "successor")


def test_unreadable_process_is_loaded_again(cache: ProcessCache, reader: Counting) -> None:
    owner = cache.load(PID)
    reader.failure = OSError(errno.EMFILE, "too many open files")
    assert cache.refresh() == {owner}
    reader.failure = None
    assert cache.load(PID) == owner
    assert cache.refresh() == set()
    cache.retain(set())
    assert cache.get(owner).comm == "worker"


def test_vanished_process_differs_from_the_one_with_its_pid(cache: ProcessCache, tree: Tree) -> None:
    first = cache.load(PID)
    assert cache.is_alive(first)
    tree.name(PID, "another", started=9 * TICKS)
    assert cache.refresh() == {first}
    assert not cache.is_alive(first)
