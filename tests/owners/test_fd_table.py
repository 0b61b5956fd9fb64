"""Cached descriptors of a process, and which of them have to be read."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path

import psutil
import pytest

from exporter.owners.fd_table import FdTable

from ..procfs.trees import Tree, Watch

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")

PID = 500

flat = chain.from_iterable

A, B, C, D = 101, 102, 103, 4294967295
ALL = {A, B, C, D}


@pytest.fixture
def table(tree: Tree) -> FdTable:
    """Return the table of a process with four sockets, all descriptors just read."""
    tree.process(PID, A, B, C, D)
    table = FdTable(tree.root, PID)
    assert sorted(flat(table.read_unknown(()))) == [A, B, C, D]
    return table


def numbers(watch: Watch) -> list[int]:
    return sorted(number for _, number in watch.links())


@pytest.mark.parametrize(
    "target", ["/dev/null", "pipe:[101]", "anon_inode:[eventpoll]", "/var/socket:[101]", "(unreachable)/x"]
)
def test_only_sockets_are_found(tree: Tree, target: str) -> None:
    tree.process(PID, A)
    tree.put(PID, 4, target)
    assert list(flat(FdTable(tree.root, PID).read_unknown(()))) == [A]


def test_all_but_live_sockets_are_read_again(table: FdTable, watch: Watch) -> None:
    assert list(flat(table.read_unknown({A, B, D}))) == [C]
    assert numbers(watch) == [0, 1, 2, 5]


def test_new_descriptors_are_read(table: FdTable, tree: Tree, watch: Watch) -> None:
    tree.hold(PID, 7, 107)
    tree.hold(PID, 20, 120)
    assert set(flat(table.read_unknown({A, B, C, D}))) == {107, 120}
    assert numbers(watch) == [0, 1, 2, 7, 20]
    assert set(flat(table.read_unknown({A, B, C, D, 107, 120}))) == set()
    assert numbers(watch) == [0, 1, 2]


def test_freed_descriptors_are_read_first(table: FdTable, tree: Tree, watch: Watch) -> None:
    tree.hold(PID, 4, 777)
    assert list(flat(table.read_freed(table.closed_sockets({A, C, D, 777})))) == [777]
    assert numbers(watch) == [4]


def test_free_descriptors_are_read_again(table: FdTable, tree: Tree, watch: Watch) -> None:
    tree.close(PID, 4)
    assert list(flat(table.read_freed(table.closed_sockets({A, C, D})))) == []
    assert numbers(watch) == [4]
    tree.hold(PID, 4, 777)
    assert list(flat(table.read_freed([]))) == [777]
    assert numbers(watch) == [4]
    assert list(flat(table.read_freed([]))) == []
    assert numbers(watch) == []


def test_lowest_free_descriptors_are_read(tree: Tree, watch: Watch) -> None:
    tree.process(PID, *range(1000, 1200))
    table = FdTable(tree.root, PID)
    assert len(list(flat(table.read_unknown(())))) == 200
    for number in range(3, 203):
        tree.close(PID, number)
    assert list(flat(table.read_freed(table.closed_sockets(set())))) == []
    watch.links()
    tree.hold(PID, 3, 777)
    assert list(flat(table.read_freed([]))) == [777]
    assert numbers(watch) == list(range(3, 67))


def test_read_all_reads_every_descriptor(table: FdTable, tree: Tree, watch: Watch) -> None:
    tree.hold(PID, 3, 777)
    tree.close(PID, 6)
    assert sorted(flat(table.read_all())) == [B, C, 777]
    assert numbers(watch) == [0, 1, 2, 3, 4, 5]
    assert len(table) == 6


def test_released_sockets_are_returned(table: FdTable, tree: Tree, watch: Watch) -> None:
    tree.hold(PID, 3, 777)
    tree.close(PID, 5)
    assert table.reread(list(table.fds_of(ALL))) == [777]
    assert table.take_lost(ALL | {777, 778}) == {A, C}
    assert numbers(watch) == [3, 4, 5, 6]
    assert table.reread(list(table.fds_of(ALL))) == []
    assert table.take_lost(ALL | {777, 778}) == set()


def test_only_given_descriptors_are_reread(table: FdTable, tree: Tree, watch: Watch) -> None:
    for number in (3, 4, 5, 6):
        tree.close(PID, number)
    assert list(table.fds_of(ALL, 5)) == [5, 6]
    assert table.reread([4, 5]) == []
    assert table.take_lost(ALL | {777, 778}) == {B, C}
    assert numbers(watch) == [4, 5]


def test_socket_of_another_descriptor_is_not_released(table: FdTable, tree: Tree) -> None:
    tree.close(PID, 3)
    tree.hold(PID, 4, A)
    assert table.reread([3, 4]) == [A]
    assert table.take_lost(ALL | {777, 778}) == {B}
    tree.close(PID, 4)
    tree.hold(PID, 5, A)
    table.reread([4])
    list(table.read_freed([5]))
    assert table.take_lost(ALL | {777, 778}) == {C}


READS: list[Callable[[FdTable], object]] = [
    lambda table: list(table.read_freed([3])),
    lambda table: list(table.read_unknown({B, C, D})),
    lambda table: list(table.read_all()),
    lambda table: table.has_open({A}),
]


@pytest.mark.parametrize("read", READS)
def test_every_reading_notices_lost_sockets(
    table: FdTable, tree: Tree, read: Callable[[FdTable], object]
) -> None:
    """Otherwise a search would remove the only trace of a socket that was given away."""
    tree.hold(PID, 3, 777)
    read(table)
    assert table.take_lost(ALL) == {A}
    assert table.count_sockets() == len(list(table.fds_of(ALL | {777})))
    read(table)
    assert table.take_lost(ALL | {777, 778}) == set()


@pytest.mark.parametrize("sockets", [{A, C}, {A, C, 0}])
def test_descriptors_of_sockets_are_counted(table: FdTable, sockets: set[int]) -> None:
    assert list(table.fds_of(sockets)) == [3, 5]
    assert table.count_live(sockets) == 2
    assert table.count_sockets() == 4


class TestFdCount:
    def test_is_unchanged_if_as_many_are_open_as_were_read(
        self, table: FdTable, tree: Tree, watch: Watch
    ) -> None:
        assert not FdTable(tree.root, PID).is_unchanged()
        list(flat(table.read_unknown(())))
        assert table.is_unchanged()
        tree.hold(PID, 7, 107)
        assert not table.is_unchanged()
        tree.close(PID, 7)
        assert table.is_unchanged()
        assert watch.links()

    def test_is_changed_if_not_all_were_read(self, table: FdTable, tree: Tree, watch: Watch) -> None:
        list(flat(table.read_unknown(())))
        tree.hold(PID, 7, 107)
        abandoned = table.read_unknown({A, B, C, D})
        next(abandoned)
        del abandoned
        assert watch.links()
        assert not table.is_unchanged()

    def test_is_always_changed_on_older_kernels(self, table: FdTable, watch: Watch) -> None:
        watch.tells_count = False
        list(flat(table.read_unknown(())))
        assert not table.is_unchanged()


@pytest.mark.usefixtures("watch")
class TestThreads:
    """/proc/PID/fd has the descriptors of the main thread, which may have exited."""

    def test_table_of_a_thread_has_its_descriptors(self, table: FdTable, tree: Tree) -> None:
        tree.thread(PID, 501, "/dev/null", "socket:[777]")
        thread = FdTable(tree.root, PID, 501)
        assert (thread.pid, thread.tid, table.tid) == (PID, 501, PID)
        assert list(flat(thread.read_all())) == [777]

    @pytest.mark.parametrize("tells_count", [True, False])
    def test_another_thread_is_read_if_the_main_one_has_none(
        self, tree: Tree, watch: Watch, tells_count: bool
    ) -> None:
        watch.tells_count = tells_count
        (tree.root / str(PID) / "fd").mkdir(parents=True)
        tree.thread(PID, 501)
        tree.thread(PID, 502, "/dev/null", "socket:[777]")
        table = FdTable(tree.root, PID)
        assert list(flat(table.read_unknown(()))) == [777]
        assert table.has_open({777})

    def test_another_thread_is_read_once_the_main_one_exits(self, table: FdTable, tree: Tree) -> None:
        list(flat(table.read_unknown(())))
        tree.thread(PID, 501, *["/dev/null"] * 3, *(f"socket:[{inode}]" for inode in (A, B, C, D, 777)))
        for number in range(7):
            tree.close(PID, number)
        assert table.count_open() == 8
        table.reread(list(table.fds_of(ALL)))
        assert table.take_lost(ALL | {777, 778}) == set()

    def test_process_that_closes_all_descriptors_has_none(self, table: FdTable, tree: Tree) -> None:
        for number in range(7):
            tree.close(PID, number)
        assert table.count_open() == 0

    @pytest.mark.parametrize(("count", "step"), [(5, 1), (98, 4), (1000, 32)])
    def test_probes_cover_all_descriptors_in_turn(self, tree: Tree, count: int, step: int) -> None:
        tree.process(PID, *range(1000, 1000 + count))
        table = FdTable(tree.root, PID)
        list(table.read_all())
        probed = [table.probe_fds(offset) for offset in range(step)]
        assert max(map(len, probed)) <= 32
        assert sorted(flat(probed)) == list(range(3 + count + 2))


class TestHighDescriptors:
    """A descriptor's number can be chosen."""

    @pytest.mark.parametrize("number", [5_000, 1_000_000, 1_000_000_000])
    def test_single_one_is_found_without_a_long_table(self, table: FdTable, tree: Tree, number: int) -> None:
        tree.hold(PID, number, 777)
        assert list(flat(table.read_unknown({A, B, C, D, 777}))) == [777]
        assert list(flat(table.read_unknown({A, B, C, D, 777}))) == []
        assert list(table.fds_of({B, 777})) == [4, number]
        assert (table.count_live({A, 777}), table.count_sockets()) == (2, 5)
        assert table.has_open({777})
        tree.hold(PID, number, 778)
        assert list(flat(table.read_unknown({A, B, C, D, 778}))) == [778]
        assert table.take_lost(ALL | {777, 778}) == {777}
        tree.close(PID, number)
        assert table.closed_sockets(ALL) == {number: 778}
        assert table.reread([number]) == []
        assert table.take_lost(ALL | {777, 778}) == {778}
        assert len(table) < 10

    def test_are_kept_when_the_table_grows(self, table: FdTable, tree: Tree) -> None:
        tree.hold(PID, 5_000, 777)
        list(table.read_unknown(ALL))
        for number in range(500, 1_200):
            tree.hold(PID, number, 10_000 + number)
        list(table.read_unknown(ALL))
        tree.close(PID, 5_000)
        assert table.contains({777}) == {777}
        tree.hold(PID, 5_001, 778)
        list(table.read_unknown(ALL | {777}))
        assert table.contains({777, 778}) == {777, 778}
        assert list(table.fds_of({777, 778})) == [5_000, 5_001]

    def test_are_cached_for_a_process_with_many(self, table: FdTable, tree: Tree, watch: Watch) -> None:
        inodes = range(10_000, 10_700)
        for number, inode in enumerate(inodes, 500):
            tree.hold(PID, number, inode)
        tree.hold(PID, 5_000, 777)
        live = {A, B, C, D, 777, *inodes}
        assert set(flat(table.read_unknown({A, B, C, D}))) == {777, *inodes}
        watch.links()
        assert list(flat(table.read_unknown(live))) == []
        assert numbers(watch) == [0, 1, 2]
        for number in range(500, 1_200):
            tree.close(PID, number)
        tree.hold(PID, 5_000, 778)
        assert list(flat(table.read_freed(table.closed_sockets({A, B, C, D})))) == [778]
        assert list(flat(table.read_unknown({A, B, C, D}))) == [778]
        tree.hold(PID, 5_000, 779)
        assert list(flat(table.read_freed(table.closed_sockets({A, B, C, D})))) == [779]


ASKS: list[Callable[[FdTable], object]] = [
    FdTable.is_unchanged,
    lambda table: list(flat(table.read_freed(table.closed_sockets(set())))),
    lambda table: list(flat(table.read_unknown(()))),
    lambda table: list(flat(table.read_all())),
    lambda table: table.reread([3, 4]),
    lambda table: table.probe([3, 4]),
]


@pytest.mark.parametrize("ask", ASKS)
def test_vanished_process_raises(table: FdTable, tree: Tree, ask: Callable[[FdTable], object]) -> None:
    tree.kill(PID)
    with pytest.raises(FileNotFoundError):
        ask(table)


def test_descriptor_closed_after_listing_is_no_socket(table: FdTable, tree: Tree, watch: Watch) -> None:
    def close_another(_: int, number: int) -> None:
        if number == 3:
            tree.close(PID, 5)

    watch.hook = close_another
    assert list(flat(table.read_freed(table.closed_sockets(set())))) == [A, B, D]


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    """Another process, which holds a socket as its standard input, and opens nothing any more."""
    one, other = socket.socketpair()
    with one, other, subprocess.Popen(["sleep", "60"], stdin=one.fileno(), stdout=other.fileno()) as process:
        loading = psutil.Process(process.pid)
        while loading.status() != psutil.STATUS_SLEEPING or loading.num_fds() != 3:
            time.sleep(0.001)
        yield process
        process.kill()


class TestRealProcesses:
    def test_own_sockets_are_found_until_closed(self) -> None:
        table = FdTable(Path("/proc"), os.getpid())
        with socket.socket() as one, socket.socket() as other:
            inodes = {os.fstat(each.fileno()).st_ino for each in (one, other)}
            assert inodes <= set(flat(table.read_unknown(())))
            gone = os.fstat(other.fileno()).st_ino
            other.close()
            table.reread(list(table.fds_of(inodes)))
            assert table.take_lost(inodes) == {gone}

    def test_process_that_ends_while_being_read_raises(self, sleeper: subprocess.Popen[bytes]) -> None:
        table = FdTable(Path("/proc"), sleeper.pid)
        found = table.read_unknown(())
        assert next(found)
        sleeper.kill()
        sleeper.wait()
        list(found)
        with pytest.raises(FileNotFoundError):
            list(flat(table.read_unknown(())))


def test_closed_sockets_are_those_not_live(table: FdTable) -> None:
    gone = table.closed_sockets({A, C})
    assert set(gone.values()) == {B, D}
    assert gone == table.closed_sockets({A, C, 0})


def test_non_sockets_and_new_descriptors_are_read(table: FdTable, tree: Tree, watch: Watch) -> None:
    list(table.read_unknown(()))
    watch.links()
    tree.hold(PID, 1, 777)
    tree.hold(PID, 7, 778)
    assert sorted(flat(table.read_non_sockets())) == [777, 778]
    assert numbers(watch) == [0, 1, 2, 7]


def test_repeated_reads_after_the_last_do_not_extend_the_table(table: FdTable, watch: Watch) -> None:
    list(table.read_unknown(()))
    watch.links()
    length = len(table)
    read = [(list(flat(table.read_non_sockets())), numbers(watch)) for _ in range(3)]
    assert read == [([], [0, 1, 2, length])] * 3
    assert len(table) == length


def test_read_non_sockets_of_an_empty_table_reads_nothing(tree: Tree, watch: Watch) -> None:
    tree.process(PID, A)
    assert list(FdTable(tree.root, PID).read_non_sockets()) == []
    assert watch.links() == []


def test_replaced_socket_is_read_again(table: FdTable, tree: Tree, watch: Watch) -> None:
    """Otherwise the new socket would never be yielded: it would seem to be known."""
    tree.hold(PID, 4, 777)
    table.reread(list(table.fds_of(ALL)))
    assert table.take_lost(ALL | {777, 778}) == {B}
    watch.links()
    assert list(flat(table.read_freed([]))) == [777]
    assert numbers(watch) == [4]


def test_descriptors_after_a_gap_are_read(tree: Tree, watch: Watch) -> None:
    tree.process(PID, *range(1000, 1100))
    tree.close(PID, 50)
    tree.hold(PID, 700, 777)
    table = FdTable(tree.root, PID)
    found = list(flat(table.read_unknown(())))
    assert sorted(found) == sorted([777, *(inode for inode in range(1000, 1100) if inode != 1047)])
    watch.links()
    assert list(flat(table.read_unknown({777, *range(1000, 1100)}))) == []
    assert numbers(watch) == [0, 1, 2]


def test_directory_is_not_listed_with_few_gaps(
    tree: Tree, watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree.process(PID, *range(1000, 1100))
    for closed in (10, 50, 101, 102):
        tree.close(PID, closed)
    table = FdTable(tree.root, PID)
    monkeypatch.setattr(table, "_list_fds", None)
    found = list(flat(table.read_unknown(())))
    assert sorted(found) == [inode for inode in range(1000, 1098) if inode not in (1007, 1047)]
    assert watch.links()[-1] == (PID, 100)


@pytest.mark.parametrize("step", [2, 50, 200])
def test_every_descriptor_is_read_once_with_any_gaps(tree: Tree, watch: Watch, step: int) -> None:
    tree.process(PID)
    for place in range(200):
        tree.hold(PID, 3 + place * step, 1000 + place)
    assert sorted(flat(FdTable(tree.root, PID).read_unknown(()))) == list(range(1000, 1200))
    assert len(set(watch.read)) == len(watch.read)
