"""Reading of tables in the background: what is read in each collection, and what is not."""

from __future__ import annotations

import errno
import sys
from collections.abc import Collection

import pytest

from exporter.owners.fd_scanner import FdScanner
from exporter.owners.fd_table_reader import UNITS_PER_COLLECTION, UNLIMITED_UNITS, FdTableReader

from ..procfs.trees import Clock, Tree, Watch

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")

ALL_PIDS = {1, 10, 20, 30}


def pids(watch: Watch) -> set[int]:
    return {pid for pid, _ in watch.links()}


class Reader(FdTableReader):
    """A reader of whose collections each begins a round, unless one is under way."""

    def __init__(self, scanner: FdScanner, clock: Clock) -> None:
        super().__init__(scanner, clock)
        self._test_clock = clock

    def advance(self, live: Collection[int], units: int = UNITS_PER_COLLECTION) -> None:
        super().advance(live, units)
        self._test_clock.now += 30.0


@pytest.fixture
def reader(scanner: FdScanner, clock: Clock) -> Reader:
    return Reader(scanner, clock)


def test_reads_processes_that_no_search_has_read(reader: Reader, scanner: FdScanner) -> None:
    reader.advance(set())
    assert scanner.closed_fds(()) == {
        10: {3: 101, 4: 102},
        20: {3: 201, 4: 202},
        30: {3: 301, 4: 302},
    }


def test_reads_changed_processes_again(reader: Reader, watch: Watch, tree: Tree) -> None:
    reader.advance(set())
    assert pids(watch) == ALL_PIDS
    reader.advance(set())
    assert pids(watch) == set()
    tree.hold(20, 7, 207)
    reader.advance(set())
    assert pids(watch) == {20}


def test_does_not_read_live_sockets_again(reader: Reader, watch: Watch, tree: Tree) -> None:
    reader.advance(set())
    watch.links()
    tree.hold(20, 7, 207)
    # 0 is the owner key of sockets without an owner, and no inode.
    reader.advance({201, 0})
    assert sorted(watch.links()) == [(20, 0), (20, 1), (20, 2), (20, 4), (20, 7)]


def test_reads_new_processes_before_changed_ones(reader: Reader, watch: Watch, tree: Tree) -> None:
    reader.advance(set(), UNLIMITED_UNITS)
    watch.links()
    for pid in (10, 20, 30):
        tree.hold(pid, 7, pid * 10 + 7)
    tree.process(40, 401)
    reader.advance(set(), 7)
    assert pids(watch) == {40}


def test_reads_a_large_process_in_parts(reader: Reader, watch: Watch, tree: Tree) -> None:
    tree.process(5, *range(5_000, 8_000))
    seen: list[int] = []
    for _ in range(3):
        reader.advance(set())
        links = watch.links()
        assert len(links) <= 2_000
        seen += [fd for pid, fd in links if pid == 5]
    assert sorted(seen) == list(range(3_003))
    reader.advance(set())
    assert 5 not in pids(watch)


def test_reads_changed_descriptors_at_a_quarter_of_the_speed(
    reader: Reader, watch: Watch, tree: Tree
) -> None:
    tree.process(5, *range(5_000, 8_000))
    reader.advance(set(), UNLIMITED_UNITS)
    watch.links()
    tree.hold(5, 4_000, 9_000)
    reader.advance(set())
    assert 0 < len(watch.links()) <= 500


def test_round_begins_after_30_seconds(scanner: FdScanner, watch: Watch, tree: Tree, clock: Clock) -> None:
    reader = FdTableReader(scanner, clock)
    reader.advance(set())
    watch.links()
    tree.hold(20, 7, 207)
    tree.process(40, 401)
    for seconds, expected in ((29.9, set()), (0.1, {20, 40}), (30.0, set())):
        clock.now += seconds
        reader.advance(set())
        assert pids(watch) == expected


def test_checks_a_bounded_number_of_processes(reader: Reader, watch: Watch, tree: Tree) -> None:
    changed = set(range(1_000, 1_300))
    for pid in changed:
        tree.process(pid)
    reader.advance(set(), UNLIMITED_UNITS)
    for pid in changed:
        tree.put(pid, 9, "/dev/null")
    watch.links()
    checked: list[set[int]] = []
    for _ in range(3):
        reader.advance(set())
        checked.append(pids(watch))
        assert 0 < len(checked[-1]) <= 101
    assert set.union(*checked) == changed


def test_reads_without_limit_for_a_single_collection(reader: Reader, watch: Watch, tree: Tree) -> None:
    tree.process(5, *range(5_000, 8_000))
    reader.advance(set(), UNLIMITED_UNITS)
    assert pids(watch) == ALL_PIDS | {5}


def test_skips_unreadable_and_vanished_processes(reader: Reader, watch: Watch, tree: Tree) -> None:
    def refuse(pid: int, _: int) -> None:
        if pid == 20:
            raise PermissionError(errno.EACCES, "refused")
        if pid == 10:
            tree.kill(10)

    watch.hook = refuse
    reader.advance(set())
    assert pids(watch) >= {1, 30}
    watch.hook = lambda *_: None
    for _ in range(2):
        reader.advance(set())
    assert pids(watch) == {20}


def test_before_linux_6_2_every_process_is_read_again(
    reader: Reader, watch: Watch, scanner: FdScanner
) -> None:
    watch.tells_count = False
    reader.advance(set())
    assert pids(watch) == ALL_PIDS
    reader.advance(set())
    assert pids(watch) == ALL_PIDS
    assert scanner.closed_fds(()).keys() == {10, 20, 30}


@pytest.mark.usefixtures("processes")
def test_process_in_another_network_namespace_is_not_read(watch: Watch, tree: Tree) -> None:
    (tree.root / "20" / "ns").mkdir()
    (tree.root / "20" / "ns" / "net").symlink_to("net:[2]")
    (tree.root / "1" / "ns").mkdir()
    (tree.root / "1" / "ns" / "net").symlink_to("net:[1]")
    FdTableReader(FdScanner(tree.root)).advance(set())
    assert 20 not in pids(watch)


def test_fails_without_proc(reader: Reader, tree: Tree) -> None:
    tree.root.rename(tree.root.with_name("elsewhere"))
    with pytest.raises(FileNotFoundError):
        reader.advance(set())
