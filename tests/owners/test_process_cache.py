"""The facts of processes: read when needed, checked at each refresh, kept while something is said of them."""

from __future__ import annotations

import errno
import sys

import pytest

from exporter.model.process import Process, ProcessId
from exporter.owners.process_cache import Facts
from exporter.procfs.process import ProcfsProcessReader

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
def facts(reader: Counting, request: pytest.FixtureRequest) -> Facts:
    return Facts(reader, details=request.param)


def test_a_process_is_described_once(facts: Facts, reader: Counting) -> None:
    first, second = facts.learn(PID), facts.learn(PID)
    assert first == second == ProcessId(PID, 7.0)
    assert reader.descriptions == 1
    assert facts.get(first).comm == "worker"


def test_nobody_cannot_be_learned(facts: Facts) -> None:
    with pytest.raises(FileNotFoundError):
        facts.learn(PID + 1)


def test_nobody_knows_a_stranger(facts: Facts) -> None:
    with pytest.raises(KeyError):
        facts.get(ProcessId(PID, 7.0))


def test_another_name_is_noticed_at_the_next_refresh(facts: Facts, tree: Tree) -> None:
    owner = facts.learn(PID)
    tree.name(PID, "renamed", started=7 * TICKS)
    assert facts.get(owner).comm == "worker"
    assert facts.refresh() == set()
    assert facts.get(owner).comm == "renamed"


def test_the_comm_alone_is_described_only_when_it_has_changed(reader: Counting, tree: Tree) -> None:
    facts = Facts(reader)
    owner = facts.learn(PID)
    for _ in range(3):
        facts.refresh()
    assert reader.descriptions == 1
    tree.name(PID, "renamed", started=7 * TICKS)
    facts.refresh()
    assert reader.descriptions == 2
    assert facts.get(owner).cmdline == ()


def test_other_details_are_read_at_each_refresh(reader: Counting, tree: Tree) -> None:
    """A program may run another (exec) that has the same comm."""
    facts = Facts(reader, details=True)
    owner = facts.learn(PID)
    assert facts.get(owner).cmdline == ("worker", "one")
    (tree.root / str(PID) / "cmdline").write_bytes(b"worker\0two\0")
    facts.refresh()
    assert facts.get(owner).cmdline == ("worker", "two")


def test_unchanged_attributes_stay_the_same_object(facts: Facts, tree: Tree) -> None:
    """The name of a process is made again for another object only."""
    owner = facts.learn(PID)
    before = facts.get(owner)
    facts.refresh()
    assert facts.get(owner) is before
    tree.name(PID, "renamed", started=7 * TICKS)
    facts.refresh()
    assert facts.get(owner) is not before


def test_the_dead_are_told_once_and_their_facts_are_kept(facts: Facts, tree: Tree) -> None:
    owner = facts.learn(PID)
    tree.kill(PID)
    assert facts.refresh() == {owner}
    assert facts.refresh() == set()
    assert facts.get(owner).comm == "worker"


def test_the_dead_are_kept_only_while_something_is_said_of_them(facts: Facts, tree: Tree) -> None:
    tree.process(PID + 1, comm="other")
    one, other, living = facts.learn(PID), facts.learn(PID + 1), facts.learn(1)
    tree.kill(PID)
    tree.kill(PID + 1)
    assert facts.refresh() == {one, other}
    facts.keep({one})
    assert facts.get(one).comm == "worker"
    assert facts.get(living).comm == "init"
    with pytest.raises(KeyError):
        facts.get(other)
    facts.keep(set())
    assert facts.get(living).comm == "init"
    with pytest.raises(KeyError):
        facts.get(one)


def test_a_pid_that_is_used_again_is_another_process(facts: Facts, tree: Tree) -> None:
    before = facts.learn(PID)
    tree.kill(PID)
    tree.process(PID, comm="successor", started=8 * TICKS)
    assert facts.refresh() == {before}
    after = facts.learn(PID)
    assert after == ProcessId(PID, 8.0)
    assert (facts.get(before).comm, facts.get(after).comm) == ("worker", "successor")


def test_a_process_that_could_not_be_read_for_once_is_learned_anew(facts: Facts, reader: Counting) -> None:
    owner = facts.learn(PID)
    reader.failure = OSError(errno.EMFILE, "too many open files")
    assert facts.refresh() == {owner}
    reader.failure = None
    assert facts.learn(PID) == owner
    assert facts.refresh() == set()
    facts.keep(set())
    assert facts.get(owner).comm == "worker"


def test_who_died_is_not_taken_for_who_has_its_pid_now(facts: Facts, tree: Tree) -> None:
    first = facts.learn(PID)
    assert facts.is_alive(first)
    tree.name(PID, "another", started=9 * TICKS)
    assert facts.refresh() == {first}
    assert not facts.is_alive(first)
