"""Search for inodes: where, in which order, and what is read for it."""

from __future__ import annotations

import errno
import os
import shutil
import sys
from collections.abc import Callable, Collection
from pathlib import Path

import pytest

from exporter.owners import fd_scanner
from exporter.owners.fd_scanner import FdScanner
from exporter.owners.fd_table import FdTable
from exporter.owners.read_budget import ReadBudget
from exporter.owners.resolver import failure_reason

from ..procfs.trees import Clock, Tree, Watch
from .hosts import ALL, found

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")


class TestSearch:
    def test_finds_the_process_of_each_socket(self, scanner: FdScanner) -> None:
        assert set(found(scanner, ALL)) == {
            (101, 10),
            (102, 10),
            (201, 20),
            (202, 20),
            (301, 30),
            (302, 30),
        }

    def test_stops_when_all_are_found(self, scanner: FdScanner, watch: Watch) -> None:
        assert (101, 10) in found(scanner, {101})
        assert {pid for pid, _ in watch.links()} == {10}

    def test_pids_ascend_and_init_is_last(self, scanner: FdScanner, tree: Tree) -> None:
        tree.hold(1, 3, 1)
        tree.process(5, 51)
        tree.process(100, 1001)
        order = [pid for _, pid in found(scanner, {999})]
        assert list(dict.fromkeys(order)) == [5, 10, 20, 30, 100, 1]

    def test_yields_a_shared_socket_once_for_each_process(self, scanner: FdScanner, tree: Tree) -> None:
        tree.hold(30, 9, 101)
        assert {pair for pair in found(scanner, {999}) if pair[0] == 101} == {(101, 10), (101, 30)}

    def test_counts_an_unreadable_process_and_continues(self, scanner: FdScanner, watch: Watch) -> None:
        def refuse(pid: int, _: int) -> None:
            if pid == 20:
                raise PermissionError(errno.EACCES, "refused")

        watch.hook = refuse
        assert {pid for _, pid in found(scanner, {999})} == {10, 30}
        assert scanner.unreadable_processes == {"permission": 1}

    @pytest.mark.parametrize("at", [0, 3, 4])
    def test_continues_after_a_process_vanishes(
        self, scanner: FdScanner, tree: Tree, watch: Watch, at: int
    ) -> None:
        def vanish(pid: int, number: int) -> None:
            if (pid, number) == (20, at):
                shutil.rmtree(tree.root / "20", ignore_errors=True)

        watch.hook = vanish
        assert {pid for _, pid in found(scanner, {999})} >= {10, 30}

    def test_counts_a_process_that_vanishes_after_listing(
        self, scanner: FdScanner, tree: Tree, watch: Watch
    ) -> None:
        def vanish(pid: int, number: int) -> None:
            if (pid, number) == (10, 0):
                shutil.rmtree(tree.root / "20", ignore_errors=True)

        watch.hook = vanish
        assert {pid for _, pid in found(scanner, {999})} == {10, 30}
        assert scanner.unreadable_processes == {"vanished": 1}

    def test_raises_without_proc(self, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError):
            found(FdScanner(tmp_path / "none"), {1})


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (errno.EACCES, "permission"),
        (errno.EPERM, "permission"),
        (errno.ENOENT, "vanished"),
        (errno.ESRCH, "vanished"),
        (errno.EMFILE, "error"),
        (errno.EIO, "error"),
    ],
)
def test_failure_reasons(error: int, reason: str) -> None:
    assert failure_reason(OSError(error, os.strerror(error))) == reason


class TestHiddenProcesses:
    def test_are_detected_by_the_absence_of_init(self, scanner: FdScanner, tree: Tree) -> None:
        assert not scanner.has_hidden_processes
        tree.kill(1)
        found(scanner, {999})
        assert scanner.has_hidden_processes

    def test_are_not_assumed_if_init_is_visible(self, warm_scanner: FdScanner) -> None:
        assert not warm_scanner.has_hidden_processes


class TestLaterSearch:
    def test_reads_only_freed_descriptors_if_that_is_enough(
        self, warm_scanner: FdScanner, tree: Tree, watch: Watch
    ) -> None:
        tree.hold(20, 4, 777)
        assert found(warm_scanner, {777}, {*ALL, 777} - {202}) == [(777, 20)]
        assert watch.links() == [(20, 4)]

    def test_reads_only_processes_with_a_changed_fd_count(
        self, warm_scanner: FdScanner, tree: Tree, watch: Watch
    ) -> None:
        tree.hold(20, 5, 777)
        assert found(warm_scanner, {777}, {*ALL, 777}) == [(777, 20)]
        read = watch.links()
        assert {pid for pid, _ in read} == {20}
        assert not {(20, 3), (20, 4)} & set(read)

    def test_reads_a_descriptor_that_was_a_file(
        self, warm_scanner: FdScanner, tree: Tree, watch: Watch
    ) -> None:
        tree.hold(20, 0, 777)
        tree.put(20, 5, "/dev/null")
        assert found(warm_scanner, {777}, {*ALL, 777}) == [(777, 20)]
        assert len(watch.links()) <= 4

    def test_reads_new_processes(self, warm_scanner: FdScanner, tree: Tree, watch: Watch) -> None:
        tree.process(40, 401)
        assert found(warm_scanner, {401}, {*ALL, 401}) == [(401, 40)]
        assert {pid for pid, _ in watch.links()} == {40}

    def test_reads_all_but_live_sockets_without_fd_counts(
        self, warm_scanner: FdScanner, tree: Tree, watch: Watch
    ) -> None:
        watch.tells_count = False
        tree.hold(30, 0, 777)
        assert found(warm_scanner, {777}, {*ALL, 777}) == [(777, 30)]
        assert not {number for pid, number in watch.links() if pid != 1} & {3, 4}

    def test_drops_vanished_and_unreadable_processes(
        self, warm_scanner: FdScanner, tree: Tree, watch: Watch
    ) -> None:
        tree.kill(20)
        assert {pid for _, pid in found(warm_scanner, {999})} <= {10, 30}
        watch.links()
        tree.process(20, 777, 778, 779)
        assert (777, 20) in found(warm_scanner, {777}, {*ALL, 777})

    def test_search_that_stops_early_keeps_the_unreadable_count(
        self, warm_scanner: FdScanner, tree: Tree, watch: Watch
    ) -> None:
        """The reason why an owner is unknown must not change with the sockets that are searched next."""

        def refuse(pid: int, _: int) -> None:
            if pid == 30:
                raise PermissionError(errno.EACCES, "refused")

        watch.hook = refuse
        tree.hold(30, 5, 778)
        found(warm_scanner, {999})
        assert warm_scanner.unreadable_processes == {"permission": 1}
        tree.hold(10, 5, 777)
        assert (777, 10) in found(warm_scanner, {777}, {*ALL, 777})
        assert warm_scanner.unreadable_processes == {"permission": 1}

    def test_unreadable_counts_the_last_scan_only(
        self, warm_scanner: FdScanner, tree: Tree, watch: Watch
    ) -> None:
        def refuse(pid: int, _: int) -> None:
            if pid in (10, 20):
                raise PermissionError(errno.EACCES, "refused")

        watch.hook = refuse
        tree.hold(10, 5, 777)
        tree.hold(20, 5, 778)
        for _ in range(3):
            found(warm_scanner, {999})
            assert warm_scanner.unreadable_processes == {"permission": 2}
        watch.hook = lambda *_: None
        found(warm_scanner, {999})
        assert warm_scanner.unreadable_processes == {}


class TestOtherNetworkNamespace:
    """Its processes have thousands of sockets that are never searched for."""

    @pytest.fixture
    def container(self, scanner: FdScanner, tree: Tree, clock: Clock) -> FdScanner:  # noqa: ARG002  # it fills the tree
        """Process 20 is in one."""
        (tree.root / "self").unlink()
        (tree.root / "self").symlink_to("10")
        for pid, namespace in ((10, "net:[1]"), (20, "net:[2]"), (30, "net:[1]")):
            (tree.root / str(pid) / "ns").mkdir()
            (tree.root / str(pid) / "ns" / "net").symlink_to(namespace)
        return FdScanner(tree.root, clock)

    def test_is_scanned_last(self, container: FdScanner) -> None:
        order = [pid for _, pid in found(container, {999})]
        assert list(dict.fromkeys(order)) == [10, 30, 20]

    def test_is_not_scanned_again_after_a_change_there(
        self, container: FdScanner, tree: Tree, watch: Watch, clock: Clock
    ) -> None:
        found_slowly(container, watch, clock)
        tree.hold(20, 5, 777)
        assert found(container, {777}, {*HERE, 777}) == []
        assert {pid for pid, _ in watch.links()} <= {1}
        clock.now += 10_000
        assert (777, 20) in found(container, {777}, {*HERE, 777})

    def test_holder_of_a_socket_of_this_one_is_scanned_like_others(
        self, container: FdScanner, tree: Tree, watch: Watch, clock: Clock
    ) -> None:
        found_slowly(container, watch, clock, {*HERE, 202})
        tree.hold(20, 5, 777)
        assert (777, 20) in found(container, {777}, {*HERE, 202, 777})
        assert container.closed_fds({*HERE, 202}) == {20: {3: 201, 5: 777}}

    def test_holder_that_has_closed_its_sockets_is_still_scanned(
        self, container: FdScanner, tree: Tree, watch: Watch, clock: Clock
    ) -> None:
        found_slowly(container, watch, clock, {*HERE, 202})
        tree.close(20, 4)
        assert (777, 20) not in found(container, {777}, {*HERE, 777})
        tree.hold(20, 4, 777)
        assert (777, 20) in found(container, {777}, {*HERE, 777})

    def test_new_process_is_read_once(
        self, container: FdScanner, tree: Tree, watch: Watch, clock: Clock
    ) -> None:
        found_slowly(container, watch, clock)
        tree.process(25, 251, 252)
        enter_namespace(tree, 25, "net:[2]")
        assert (777, 25) not in found(container, {777}, {*HERE, 777})
        assert {pid for pid, _ in watch.links()} == {25}
        tree.hold(25, 5, 777)
        assert found(container, {777}, {*HERE, 777}) == []
        assert watch.links() == []

    def test_new_process_that_accepts_from_a_listener_of_this_one_is_found(
        self, container: FdScanner, tree: Tree, watch: Watch, clock: Clock
    ) -> None:
        found_slowly(container, watch, clock)
        tree.process(25, 101, 777)
        enter_namespace(tree, 25, "net:[2]")
        assert (777, 25) in found(container, {777}, {*HERE, 777})
        tree.hold(25, 5, 778)
        assert found(container, {778}, {*HERE, 777, 778}) == [(778, 25)]

    def test_new_processes_are_read_within_a_budget(
        self, container: FdScanner, tree: Tree, watch: Watch, clock: Clock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(fd_scanner, "_RARE_READS_ALLOWANCE", 200)
        found_slowly(container, watch, clock)
        budget = ReadBudget(400)
        budget.spend(400)
        monkeypatch.setattr(container, "_rare_reads", budget)
        for pid, count in ((40, 300), (50, 150), (60, 20)):
            tree.process(pid, *range(pid * 1000, pid * 1000 + count))
            enter_namespace(tree, pid, "net:[2]")
        rounds = []
        for _ in range(5):
            found(container, {999}, HERE)
            rounds.append({pid for pid, _ in watch.links()})
        assert rounds == [{50, 60}, set(), {40}, set(), set()]

    def test_unreadable_process_is_counted_in_every_search(
        self, container: FdScanner, tree: Tree, watch: Watch, clock: Clock
    ) -> None:
        """Though it is not tried in every search."""
        found_slowly(container, watch, clock)
        slow = watch.hook

        def refuse(pid: int, fd: int) -> None:
            slow(pid, fd)
            if pid in (25, 26):
                raise PermissionError(errno.EACCES, "refused")

        watch.hook = refuse
        tree.process(25, 251)
        enter_namespace(tree, 25, "net:[2]")
        tree.process(26, 261)
        for number in range(4):
            clock.now += 10_000 * (number == 2)
            found(container, {999}, HERE)
            assert container.unreadable_processes == {"permission": 2}
        watch.hook = slow
        clock.now += 10_000
        for expected in ({"permission": 1}, {}):
            found(container, {999}, HERE)
            assert container.unreadable_processes == expected

    def test_process_that_enters_this_one_later_is_scanned(
        self, container: FdScanner, tree: Tree, watch: Watch, clock: Clock
    ) -> None:
        found_slowly(container, watch, clock)
        enter_namespace(tree, 20, "net:[1]")
        clock.now += 10_000
        found_slowly(container, watch, clock)
        tree.hold(20, 5, 777)
        assert (777, 20) in found(container, {777}, {*HERE, 777})


HERE = (101, 102, 301, 302)
"""The sockets of processes 10 and 30."""


def enter_namespace(tree: Tree, pid: int, name: str) -> None:
    link = tree.root / str(pid) / "ns" / "net"
    link.parent.mkdir(exist_ok=True)
    link.unlink(missing_ok=True)
    link.symlink_to(name)


def found_slowly(scanner: FdScanner, watch: Watch, clock: Clock, live: Collection[int] = HERE) -> None:
    """Scan all processes twice, slowly, so that no full scan is allowed for some time."""

    def take_time(*_: int) -> None:
        clock.now += 0.01

    watch.hook = take_time
    for _ in range(2):
        found(scanner, {999}, live)
    watch.links()


class TestIoUring:
    @pytest.fixture
    def ring(self, warm_scanner: FdScanner, tree: Tree, watch: Watch, clock: Clock) -> Path:
        """Return the fdinfo file of an io_uring instance of process 20, known from a search."""
        tree.put(20, 5, "anon_inode:[io_uring]")
        fdinfo = tree.root / "20" / "fdinfo" / "5"
        fdinfo.parent.mkdir()
        fdinfo.write_text("UserFiles:\t0\n")
        clock.now += 10_000
        found_slowly(warm_scanner, watch, clock, ALL)
        return fdinfo

    def test_registered_sockets_are_found(self, warm_scanner: FdScanner, ring: Path) -> None:
        ring.write_text("UserFiles:\t2\n    0: socket:[777]\n    1: socket:[778]\n")
        assert (777, 20) in found(warm_scanner, {777, 778}, {*ALL, 777, 778})

    def test_closed_instance_does_not_make_the_process_unreadable(
        self, warm_scanner: FdScanner, ring: Path, tree: Tree
    ) -> None:
        ring.unlink()
        tree.put(20, 5, "/dev/null")
        assert found(warm_scanner, {777}, {*ALL, 777}) == []
        assert warm_scanner.unreadable_processes == {}


class TestThreads:
    def start_thread(self, tree: Tree, pid: int, tid: int, *sockets: int) -> Path:
        """Start a thread with these sockets from descriptor 3 on; return its directory of descriptors."""
        return tree.thread(pid, tid, *["/dev/null"] * 3, *(f"socket:[{inode}]" for inode in sockets))

    def test_table_of_its_own_is_found_and_kept(
        self, scanner: FdScanner, tree: Tree, watch: Watch, clock: Clock
    ) -> None:
        directory = self.start_thread(tree, 20, 21, 201, 777)
        assert (777, 20) in found(scanner, {777}, {*ALL, 777})
        found_slowly(scanner, watch, clock, ALL)
        (directory / "5").symlink_to("socket:[778]")
        assert found(scanner, {778}, {*ALL, 777, 778}) == [(778, 20)]
        assert scanner.has_open(20, {778}) is True
        assert {table.tid for table in scanner.tables_of({20})} == {20, 21}

    def test_table_of_a_thread_that_has_exited_is_dropped(
        self, scanner: FdScanner, tree: Tree, clock: Clock
    ) -> None:
        directory = self.start_thread(tree, 20, 21, 201, 777)
        found(scanner, {777}, {*ALL, 777})
        shutil.rmtree(directory.parent)
        clock.now += 10_000
        found(scanner, {999}, ALL)
        assert {table.tid for table in scanner.tables_of({20})} == {20}
        assert scanner.unreadable_processes == {}

    def test_socket_that_a_thread_keeps_is_not_released(
        self, scanner: FdScanner, tree: Tree, clock: Clock
    ) -> None:
        self.start_thread(tree, 20, 21, 201, 777)
        found(scanner, {777}, {*ALL, 777})
        tree.close(20, 3)
        tree.close(20, 4)
        clock.now += 10_000
        found(scanner, {999}, {*ALL, 777})
        ((table, lost),) = scanner.take_lost({*ALL, 777})
        assert (table.pid, lost) == (20, {201, 202})
        assert scanner.released_by(table, lost) == {202}

    def test_forgotten_process_takes_its_threads_along(self, scanner: FdScanner, tree: Tree) -> None:
        self.start_thread(tree, 20, 21, 201, 777)
        found(scanner, {777}, {*ALL, 777})
        scanner.forget(20)
        assert list(scanner.tables_of({20})) == []
        assert scanner.has_open(20, {777}) is False


class TestFullScan:
    """For what nothing leads to: a descriptor that was a file, and is a socket now."""

    def hide(self, tree: Tree, inode: int) -> None:
        tree.hold(20, 0, inode)

    def slow(self, clock: Clock, seconds: float) -> Callable[[int, int], None]:
        def hook(_pid: int, _number: int) -> None:
            clock.now += seconds

        return hook

    def test_is_made_if_the_last_one_is_long_ago(self, warm_scanner: FdScanner, tree: Tree) -> None:
        self.hide(tree, 777)
        assert (777, 20) in found(warm_scanner, {777}, {*ALL, 777})

    def test_reads_non_sockets_and_new_descriptors_first(
        self, warm_scanner: FdScanner, tree: Tree, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Before it lists the thousands that a process may hold. Behind the last is one that was opened
        before another was closed, so that as many are open."""

        def not_to_be_listed(_: FdTable) -> list[int]:
            raise AssertionError

        monkeypatch.setattr(FdTable, "_list_fds", not_to_be_listed)
        self.hide(tree, 777)
        tree.close(30, 1)
        tree.hold(30, 5, 778)
        met = found(warm_scanner, {777, 778}, {*ALL, 777, 778})
        assert {(777, 20), (778, 30)} <= set(met)

    def test_counts_an_unreadable_process_once(self, warm_scanner: FdScanner, watch: Watch) -> None:
        def refuse(pid: int, _: int) -> None:
            if pid == 20:
                raise PermissionError(errno.EACCES, "refused")

        watch.hook = refuse
        found(warm_scanner, {777}, {*ALL, 777})
        assert warm_scanner.unreadable_processes == {"permission": 1}

    def test_takes_at_most_half_a_percent_of_the_time(
        self, scanner: FdScanner, tree: Tree, watch: Watch, clock: Clock
    ) -> None:
        watch.hook = self.slow(clock, 0.01)
        found(scanner, {999})
        cold = len(watch.links())
        before = clock.now
        found(scanner, {999})
        watch.links()
        thorough_seconds = clock.now - before
        assert thorough_seconds > 0
        self.hide(tree, 777)
        allowed_at = clock.now + thorough_seconds / 0.005
        clock.now = allowed_at - 0.5
        assert found(scanner, {777}, {*ALL, 777}) == []
        assert watch.links() == []
        clock.now = allowed_at + 0.5
        assert (777, 20) in found(scanner, {777}, {*ALL, 777})
        assert 0 < len(watch.links()) < cold

    def test_skips_processes_that_were_just_read(self, scanner: FdScanner, watch: Watch) -> None:
        found(scanner, {999})
        read = watch.links()
        assert len(read) == len(set(read))

    def test_reads_descriptors_of_live_sockets_as_well(
        self, warm_scanner: FdScanner, tree: Tree, watch: Watch, clock: Clock
    ) -> None:
        """A pid that was used again, with as many descriptors, one of them a socket that others hold too."""
        tree.hold(30, 9, 201)
        found(warm_scanner, {999})
        clock.now += 10_000
        tree.kill(20)
        tree.process(20, 777, 202, started=200)
        watch.links()
        assert (777, 20) in found(warm_scanner, {777}, {*ALL, 777})
