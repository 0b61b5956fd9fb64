"""Sockets that their process released, mostly to a child: which descriptors are re-read, and how many."""

from __future__ import annotations

import errno
import sys
from collections.abc import Collection, Iterable, Mapping

import pytest

from exporter.owners import released_sockets
from exporter.owners.fd_scanner import FdScanner
from exporter.owners.fd_table import FdTable
from exporter.owners.released_sockets import ReleasedSocketFinder

from ..procfs.trees import Tree, Watch
from .hosts import ALL, found

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")

PID = 500


class Finder:
    """A finder and the sockets of some processes, all of which are resolved."""

    def __init__(self, tables: Iterable[FdTable], live: Collection[int]) -> None:
        self.tables = list(tables)
        self.live = set(live)
        self._finder = ReleasedSocketFinder()
        self._finder.add(self.tables, self.live)

    def find(
        self, new: Mapping[int, int] | None = None, missing: Collection[int] = ()
    ) -> list[tuple[int, int]]:
        """Return (inode, pid) of what one collection finds. new: pid -> its sockets that a search found."""
        self._finder.count_open(self.tables)
        if new is not None:
            closed = {table.tid: table.closed_sockets(self.live) for table in self.tables}
            self._finder.count_live(closed)
        rereads = self._finder.find(self.live, lambda: self.live, new or {}, missing)
        return sorted((inode, reread.table.pid) for reread in rereads for inode in reread.released)


@pytest.fixture
def finder(warm_scanner: FdScanner, watch: Watch) -> Finder:
    """Processes 10, 20 and 30 with two sockets each."""
    finder = Finder(warm_scanner.tables_of({10, 20, 30}), ALL)
    watch.links()
    return finder


def read_table(tree: Tree, count: int, pid: int = PID) -> FdTable:
    """Return the table of a process with that many sockets, from 10,000 on, all of them read."""
    tree.process(pid, *range(10_000, 10_000 + count))
    table = FdTable(tree.root, pid)
    assert sum(map(len, table.read_all())) == count
    return table


def make_finder(tree: Tree, watch: Watch, count: int) -> Finder:
    finder = Finder([read_table(tree, count)], range(10_000, 10_000 + count))
    watch.links()
    return finder


def release(tree: Tree, fds: Iterable[int]) -> None:
    for fd in fds:
        tree.close(PID, fd)


def test_few_sockets_are_read_in_one_collection(finder: Finder, tree: Tree) -> None:
    assert finder.find() == []
    tree.close(10, 3)
    tree.hold(30, 4, 777)
    assert finder.find() == [(101, 10), (302, 30)]
    assert finder.find() == []


def test_socket_moved_within_its_process_is_not_released(finder: Finder, tree: Tree) -> None:
    tree.close(10, 3)
    tree.hold(10, 4, 101)
    assert finder.find() == [(102, 10)]


@pytest.mark.parametrize(("count", "released"), [(400, 400), (4000, 20), (400, 1)])
def test_fall_of_the_fd_count_is_followed_at_once(
    tree: Tree, watch: Watch, count: int, released: int
) -> None:
    finder = make_finder(tree, watch, count)
    assert finder.find() == []
    release(tree, range(count + 3 - released, count + 3))
    assert finder.find() == [(inode, PID) for inode in range(10_000 + count - released, 10_000 + count)]
    assert finder.find() == []


def test_closed_sockets_explain_the_fall(tree: Tree, watch: Watch) -> None:
    finder = make_finder(tree, watch, 400)
    release(tree, range(3, 203))
    finder.live -= set(range(10_000, 10_200))
    assert finder.find() == []
    assert len(watch.links()) <= 64


def test_new_sockets_do_not_hide_released_ones(tree: Tree, watch: Watch) -> None:
    finder = make_finder(tree, watch, 400)
    release(tree, range(383, 403))
    for number in range(20):
        tree.hold(PID, 403 + number, 20_000 + number)
    list(finder.tables[0].read_unknown(finder.live))
    finder.live |= set(range(20_000, 20_020))
    assert finder.find({PID: 20}) == [(inode, PID) for inode in range(10_380, 10_400)]


def test_closed_files_cause_one_reading(tree: Tree, watch: Watch) -> None:
    """They cannot be told from released sockets by the number of descriptors."""
    finder = make_finder(tree, watch, 400)
    release(tree, range(3))
    assert finder.find() == []
    assert len(watch.links()) >= 400
    assert finder.find() == []
    assert len(watch.links()) <= 64


def test_readings_without_result_are_limited(tree: Tree, watch: Watch) -> None:
    """A process that opens and closes files all the time must not have its sockets read all the time."""
    finder = make_finder(tree, watch, 2000)
    rounds = []
    for _ in range(200):
        for fd in (5000, 5001, 5002):
            tree.put(PID, fd, "/dev/null")
        finder.find()
        finder.find()
        release(tree, (5000, 5001, 5002))
        finder.find()
        rounds.append(len(watch.links()))
    # Each collection reads 64 in rotation and saves 64 for suspicion; 32,768 were saved before.
    assert sum(rounds) <= 200 * 3 * 128 + 32_768
    assert max(rounds) <= 3 * (2000 + 64)


def test_opened_files_do_not_hide_released_sockets(tree: Tree, watch: Watch) -> None:
    finder = make_finder(tree, watch, 400)
    release(tree, [402])
    for fd in (5000, 5001):
        tree.put(PID, fd, "/dev/null")
    assert finder.find() == [(10_399, PID)]


def test_reading_after_a_rise_spends_half_of_the_savings(tree: Tree, watch: Watch) -> None:
    finder = make_finder(tree, watch, 2000)
    for fd in range(5000, 5020):
        tree.put(PID, fd, "/dev/null")
        finder.find()
    finder.find()
    assert 16_384 - 2000 - 20 * 64 <= len(watch.links()) <= 16_384 + 21 * 128
    release(tree, [2002])
    assert finder.find() == [(11_999, PID)]


def test_missing_socket_at_the_descriptor_of_a_released_one_is_found(tree: Tree, watch: Watch) -> None:
    """The number of open descriptors is the same, and none of them seems to be free."""
    finder = make_finder(tree, watch, 400)
    tree.hold(PID, 300, 777)
    assert finder.find(missing=[777]) == [(10_297, PID)]
    watch.links()
    finder.find()
    assert len(watch.links()) <= 64


def test_search_for_missing_sockets_ends_when_they_are_found(tree: Tree, watch: Watch) -> None:
    tables = [read_table(tree, 300), read_table(tree, 200, pid=600)]
    finder = Finder(tables, range(10_000, 10_300))
    tree.hold(600, 150, 777)
    watch.links()
    assert finder.find(missing=[777]) == [(10_147, 600)]
    # 200 of the second process, two samples, and the rotation.
    assert len(watch.links()) <= 200 + 2 * 32 + 64


def test_search_for_missing_sockets_spends_half_of_the_savings(tree: Tree, watch: Watch) -> None:
    """Some are always missing without permissions."""
    finder = make_finder(tree, watch, 2000)
    for _ in range(20):
        finder.find(missing=[777])
    assert len(watch.links()) <= 16_384 + 20 * 128


def test_replaced_sockets_are_found_without_savings(tree: Tree, watch: Watch) -> None:
    """A process that opens as many as it gives away has as many as before: a sample shows it."""
    finder = make_finder(tree, watch, 2000)
    for _ in range(20):
        finder.find(missing=[777])
    for fd in range(3, 503):
        tree.hold(PID, fd, 50_000 + fd)
    assert len(finder.find(missing=[50_003])) == 500


def test_samples_are_limited_and_read_in_rotation(tree: Tree, watch: Watch) -> None:
    tables = [read_table(tree, 100, pid=600 + number) for number in range(40)]
    finder = Finder(tables, range(10_000, 10_100))
    for _ in range(200):
        finder.find(missing=[777])
    watch.links()
    finder.find(missing=[777])
    finder.find(missing=[777])
    read = watch.links()
    assert len(read) <= 2 * (512 + 64) + 100
    assert {pid for pid, _ in read} >= set(range(600, 630))


def test_large_fall_is_followed_without_savings(tree: Tree, watch: Watch) -> None:
    finder = make_finder(tree, watch, 2000)
    for _ in range(20):
        tree.put(PID, 5000, "/dev/null")
        finder.find()
        finder.find()
        release(tree, [5000])
        finder.find()
    watch.links()
    release(tree, range(3, 1003))
    assert len(finder.find()) == 1000


def test_small_fall_waits_until_it_is_affordable(
    tree: Tree, watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(released_sockets, "_MAX_READS", 600)
    finder = make_finder(tree, watch, 500)
    release(tree, [0])
    assert finder.find() == []
    assert len(watch.links()) >= 500
    release(tree, [502])
    rounds = next(number for number in range(1, 30) if finder.find())
    assert 5 <= rounds <= 8


def test_long_reading_continues_in_the_next_collections(
    tree: Tree, watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(released_sockets, "_MAX_READS", 200)
    finder = make_finder(tree, watch, 500)
    release(tree, range(3, 503))
    seen, reads = [], []
    for _ in range(4):
        seen += finder.find()
        reads.append(len(watch.links()))
    assert len(set(seen)) == len(seen) == 500
    assert max(reads) <= 200 + 64


def test_largest_share_is_read_first(tree: Tree, watch: Watch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(released_sockets, "_MAX_READS", 300)
    tables = [read_table(tree, 300), read_table(tree, 200, pid=600)]
    finder = Finder(tables, range(10_000, 10_300))
    watch.links()
    tree.close(PID, 302)
    for fd in range(3, 203):
        tree.close(600, fd)
    assert {pid for _, pid in finder.find()} == {600}


@pytest.mark.parametrize(("tells_count", "per_collection"), [(True, 64), (False, 128)])
def test_rotation_reads_all_sockets_in_turn(
    tree: Tree, watch: Watch, tells_count: bool, per_collection: int
) -> None:
    watch.tells_count = tells_count
    tables = [read_table(tree, 300, pid=50), read_table(tree, 300, pid=60)]
    finder = Finder(tables, range(10_000, 10_300))
    watch.links()
    rounds = []
    for _ in range(600 // per_collection + 2):
        assert finder.find() == []
        rounds.append(watch.links())
    assert max(map(len, rounds)) <= per_collection
    assert {link for links in rounds for link in links} == {
        (pid, fd) for pid in (50, 60) for fd in range(3, 303)
    }


@pytest.mark.parametrize(("tells_count", "per_collection"), [(True, 75), (False, 300)])
def test_rotation_grows_with_the_number_of_sockets(
    tree: Tree, watch: Watch, tells_count: bool, per_collection: int
) -> None:
    watch.tells_count = tells_count
    finder = make_finder(tree, watch, 19_200)
    finder.find()
    assert len(watch.links()) == per_collection


def test_rotation_finds_a_socket_that_a_file_has_replaced(tree: Tree, watch: Watch) -> None:
    """The number of descriptors does not tell."""
    finder = make_finder(tree, watch, 300)
    tree.put(PID, 200, "/dev/null")
    seen = [pair for _ in range(6) for pair in finder.find()]
    assert seen == [(10_197, PID)]


def test_nothing_is_read_without_tables(watch: Watch) -> None:
    assert Finder([], ALL).find() == []
    assert watch.links() == []


def test_vanished_process_does_not_raise(finder: Finder, tree: Tree) -> None:
    tree.kill(10)
    tree.close(20, 3)
    assert finder.find() == [(201, 20)]
    assert finder.find() == []


def test_unreadable_process_does_not_raise(finder: Finder, tree: Tree, watch: Watch) -> None:
    def refuse(pid: int, _: int) -> None:
        if pid == 10:
            raise PermissionError(errno.EACCES, "refused")

    watch.hook = refuse
    tree.close(20, 3)
    assert finder.find() == [(201, 20)]


@pytest.mark.usefixtures("watch")
def test_sockets_that_have_replaced_released_ones_are_returned(tree: Tree) -> None:
    table = read_table(tree, 3)
    finder = ReleasedSocketFinder()
    tree.hold(PID, 4, 777)
    finder.count_open([table])
    (reread,) = finder.find({10_000, 10_001, 10_002}, set, {})
    assert (reread.released, reread.found) == ({10_001}, [777])


def test_scanner_has_no_tables_before_a_scan(scanner: FdScanner) -> None:
    assert list(scanner.tables_of({10, 20, 30})) == []
    found(scanner, {999})
    assert [table.pid for table in scanner.tables_of({10, 30})] == [10, 30]
