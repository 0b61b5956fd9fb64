"""Threads with a descriptor table of their own: compared with their process by number and a sample."""

from __future__ import annotations

import sys

import pytest

from exporter.owners import thread_tables
from exporter.owners.fd_table import FdTable
from exporter.owners.thread_tables import ThreadTableFinder

from ..procfs.trees import Tree, Watch

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")

PID = 500
TARGETS = ("/dev/null", "/dev/null", "/dev/null", "socket:[101]", "socket:[102]")


@pytest.fixture
def table(tree: Tree, watch: Watch) -> FdTable:  # noqa: ARG001  # it tells the number of descriptors
    """Return the table of a process with sockets 101 and 102, just read."""
    tree.process(PID, 101, 102)
    return read(tree, PID)


def read(tree: Tree, pid: int) -> FdTable:
    table = FdTable(tree.root, pid)
    list(table.read_all())
    return table


def found(tree: Tree, *tables: FdTable, known: tuple[int, ...] = ()) -> list[int]:
    return [thread.tid for thread in ThreadTableFinder(tree.root).find(tables, known)]


def test_process_with_one_thread_has_no_other_table(table: FdTable, tree: Tree) -> None:
    assert found(tree, table) == []


def test_threads_with_equal_descriptors_are_skipped(table: FdTable, tree: Tree) -> None:
    for tid in (501, 502, 503):
        tree.thread(PID, tid, *TARGETS)
    assert found(tree, table) == []


@pytest.mark.parametrize(
    "targets",
    [
        (*TARGETS, "socket:[103]"),
        TARGETS[:4],
        (*TARGETS[:4], "socket:[103]"),
        (*TARGETS[:2], "socket:[103]", *TARGETS[3:]),
    ],
)
def test_threads_with_other_descriptors_are_found(
    table: FdTable, tree: Tree, targets: tuple[str, ...]
) -> None:
    tree.thread(PID, 501, *TARGETS)
    tree.thread(PID, 502, *targets)
    assert found(tree, table) == [502]
    assert found(tree, table, known=(502,)) == []


def test_socket_opened_while_threads_are_compared_is_no_difference(
    table: FdTable, tree: Tree, watch: Watch
) -> None:
    directory = tree.thread(PID, 501, *TARGETS)

    def open_socket(pid: int, _: int) -> None:
        if pid == 501 and not (directory / "5").is_symlink():
            (directory / "5").symlink_to("socket:[103]")
            tree.hold(PID, 5, 103)

    watch.hook = open_socket
    assert found(tree, table) == []


def test_vanished_threads_and_processes_are_skipped(table: FdTable, tree: Tree) -> None:
    (tree.root / str(PID) / "task" / "501").mkdir(parents=True)
    tree.thread(PID, 502, *TARGETS[:4])
    tree.process(600)
    gone = read(tree, 600)
    tree.kill(600)
    assert found(tree, gone, table) == [502]


def test_one_difference_among_many_is_found_after_some_searches(
    tree: Tree,
    watch: Watch,  # noqa: ARG001  # it tells the number of descriptors
) -> None:
    tree.process(PID, *range(1000, 1200))
    targets = [f"socket:[{inode}]" for inode in range(1000, 1200)]
    targets[150] = "socket:[777]"
    tree.thread(PID, 501, *["/dev/null"] * 3, *targets)
    finder, table = ThreadTableFinder(tree.root), read(tree, PID)
    rounds = [len(list(finder.find([table], ()))) for _ in range(7)]
    assert sum(rounds) == 1


def test_a_limited_number_of_threads_is_compared_in_turn(
    tree: Tree, watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(thread_tables, "_MAX_THREADS", 4)
    tables = []
    for pid in (100, 200, 300):
        tree.process(pid, 101, 102)
        for tid in range(pid + 1, pid + 4):
            tree.thread(pid, tid, *TARGETS)
        tables.append(read(tree, pid))
    watch.links()
    finder = ThreadTableFinder(tree.root)
    rounds = []
    for _ in range(2):
        assert list(finder.find(tables, ())) == []
        rounds.append({pid for pid, _ in watch.links()} - {100, 200, 300})
    assert rounds == [{101, 102, 103, 201, 202, 203}, {301, 302, 303, 101, 102, 103}]
