"""Who holds a socket, in a /proc of our own: found, remembered, and forgotten in time."""

from __future__ import annotations

import errno
import sys

import pytest

from exporter.model.process import ProcessId, Unowned
from exporter.model.sockets import NO_OWNER_KEY
from exporter.owners import fd_scanner
from exporter.owners.fd_scanner import FdScanner
from exporter.owners.inode_resolver import InodeOwnerResolver
from exporter.owners.process_cache import ProcessCache
from exporter.procfs.process_reader import ProcfsProcessReader

from ..procfs.trees import TICKS, Clock, Tree, Watch
from .hosts import ALL, Host, LiveSockets

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")


class TestFinding:
    def test_holders_are_found(self, host: Host) -> None:
        assert host.resolve(101, 302) == [ProcessId(10, 100 / TICKS), ProcessId(30, 100 / TICKS)]
        assert host.owners.process(ProcessId(10, 100 / TICKS)).comm == "worker"
        assert not host.owners.unreadable

    def test_what_nobody_holds_is_not_found(self, host: Host) -> None:
        assert host.resolve(101, 999) == [ProcessId(10, 100 / TICKS), Unowned.NOT_FOUND]
        assert host.owners.owner_of(998) is Unowned.NOT_FOUND
        assert host.owners.unresolved_reason == "not_found"

    def test_a_socket_without_a_holder_is_not_looked_for(self, host: Host, watch: Watch) -> None:
        host.resolve(NO_OWNER_KEY)
        assert host.asked_for_live == 0
        assert watch.links() == []

    def test_the_lowest_pid_of_those_who_share_a_socket_owns_it(self, host: Host, tree: Tree) -> None:
        for pid in (1, 9, 11):
            if pid != 1:
                tree.process(pid)
            tree.hold(pid, 8, 555)
        assert host.pids(555) == [9]

    def test_init_comes_last(self, host: Host, tree: Tree) -> None:
        """With socket activation it holds the sockets of the services that it starts when they are called."""
        tree.hold(1, 8, 302)
        tree.hold(1, 9, 555)
        assert host.pids(302, 555) == [30, 1]

    def test_a_process_that_vanishes_before_it_is_described_is_counted_and_owns_nothing(
        self, host: Host, tree: Tree, watch: Watch
    ) -> None:
        def vanish(pid: int, _: int) -> None:
            if pid == 10:
                (tree.root / "10" / "stat").unlink(missing_ok=True)

        watch.hook = vanish
        assert host.pids(101, 201) == [None, 20]
        assert host.owners.unreadable == {"vanished": 1}

    def test_where_there_is_no_proc_it_raises(self, tree: Tree, host: Host) -> None:
        tree.root.rename(tree.root.with_name("elsewhere"))
        with pytest.raises(FileNotFoundError):
            host.resolve(101)


class TestReasons:
    def test_processes_that_refuse(self, host: Host, watch: Watch) -> None:
        def refuse(pid: int, _: int) -> None:
            if pid == 20:
                raise PermissionError(errno.EACCES, "refused")

        watch.hook = refuse
        assert host.pids(101, 201) == [10, None]
        assert host.owners.unreadable == {"permission": 1}
        assert host.owners.unresolved_reason == "unreadable"

    def test_processes_that_fail_to_be_read_until_they_do_no_longer(
        self, host: Host, watch: Watch, clock: Clock
    ) -> None:
        def fail(pid: int, _: int) -> None:
            if pid == 20:
                raise OSError(errno.EIO, "failed")

        watch.hook = fail
        assert host.pids(101, 201) == [10, None]
        assert host.owners.unreadable == {"error": 1}
        assert host.owners.unresolved_reason == "unreadable"
        watch.hook = lambda *_: None
        clock.now += 3600
        assert host.owners.refresh() == {Unowned.NOT_FOUND}
        assert host.pids(101, 201) == [10, 20]
        assert not host.owners.unreadable

    def test_processes_that_are_hidden(self, host: Host, tree: Tree) -> None:
        tree.kill(1)
        assert host.pids(101, 999) == [10, None]
        assert host.owners.unresolved_reason == "hidden"


class TestAWarmScrape:
    def test_asks_for_nothing_when_all_are_known(self, warm: Host, watch: Watch) -> None:
        asked = warm.asked_for_live
        assert warm.pids(*ALL) == [10, 10, 20, 20, 30, 30]
        assert warm.asked_for_live == asked
        assert watch.links() == []

    def test_reads_one_descriptor_for_a_socket_in_the_place_of_another(
        self, warm: Host, tree: Tree, watch: Watch
    ) -> None:
        warm.owners.refresh()
        watch.links()
        tree.hold(20, 4, 777)
        warm.live.remove(202)
        assert warm.pids(777) == [20]
        assert watch.links() == [(20, 4)]

    def test_reads_few_descriptors_of_thousands_for_a_new_one(
        self, host: Host, tree: Tree, watch: Watch
    ) -> None:
        for pid in range(100, 110):
            tree.process(pid, *range(pid * 1000, pid * 1000 + 200))
        inodes = [inode for pid in range(100, 110) for inode in range(pid * 1000, pid * 1000 + 200)]
        assert host.pids(*ALL, *inodes)[-1] == 109
        watch.links()
        tree.hold(105, 203, 777)
        assert host.pids(777) == [105]
        assert len(watch.links()) <= 8

    def test_reads_a_descriptor_that_was_no_socket_before(
        self, warm: Host, tree: Tree, watch: Watch, clock: Clock
    ) -> None:
        """Though there are sockets without a holder: such a descriptor is not one of theirs."""

        def take_time(*_: int) -> None:
            clock.now += 0.001

        watch.hook = take_time
        warm.pids(999)
        tree.hold(20, 1, 777)
        tree.put(20, 5, "/dev/null")
        assert warm.pids(777) == [20]

    def test_does_not_claim_what_was_closed_meanwhile(self, host: Host, tree: Tree) -> None:
        host.resolve(302)
        tree.kill(10)
        tree.process(40, 101)
        host.owners.refresh()
        assert host.pids(101) == [40]


class TestChanges:
    def test_nothing_changed_so_nothing_is_stale(self, warm: Host) -> None:
        assert warm.owners.refresh() == set()

    def test_an_owner_that_died_is_stale_and_its_sockets_are_looked_for_again(
        self, warm: Host, tree: Tree
    ) -> None:
        tree.process(40, 101, 102)
        tree.kill(10)
        assert warm.owners.refresh() == {ProcessId(10, 100 / TICKS)}
        assert warm.owners.owner_of(101) is Unowned.NOT_FOUND
        assert warm.pids(101, 102, 201) == [40, 40, 20]
        assert warm.owners.process(ProcessId(10, 100 / TICKS)).comm == "worker"
        warm.owners.retain(set())
        with pytest.raises(KeyError):
            warm.owners.process(ProcessId(10, 100 / TICKS))

    def test_a_pid_that_is_used_again_is_another_owner(self, warm: Host, tree: Tree) -> None:
        tree.kill(10)
        tree.process(10, 777, 102, comm="successor", started=200)
        assert warm.owners.refresh() == {ProcessId(10, 100 / TICKS)}
        warm.live.remove(101)
        successor = ProcessId(10, 200 / TICKS)
        assert warm.resolve(777, 102) == [successor, successor]
        assert warm.owners.process(successor).comm == "successor"

    def test_a_socket_handed_on_makes_who_had_it_stale(self, warm: Host, tree: Tree) -> None:
        tree.process(40, 101)
        tree.close(10, 3)
        assert warm.owners.refresh() == set()
        warm.resolve()
        assert warm.owners.refresh() == {ProcessId(10, 100 / TICKS)}
        assert warm.owners.owner_of(102) == ProcessId(10, 100 / TICKS)
        assert warm.pids(101, 102) == [40, 10]

    def test_a_socket_that_is_closed_makes_nobody_stale(self, warm: Host, tree: Tree) -> None:
        """Or all the others of a busy process would be counted anew at every reading."""
        tree.close(10, 3)
        warm.live.remove(101)
        for _ in range(3):
            assert warm.owners.refresh() == set()
            warm.resolve()

    def test_what_a_descriptor_read_again_holds_now_is_found_at_once(self, warm: Host, tree: Tree) -> None:
        tree.hold(10, 3, 777)
        warm.live.remove(101)
        warm.owners.refresh()
        assert warm.pids(777) == [10]

    def test_a_child_that_lets_go_a_socket_it_shared_changes_nothing(self, host: Host, tree: Tree) -> None:
        tree.process(40, 101, 555)
        assert host.pids(*ALL, 555)[0] == 10
        tree.close(40, 3)
        assert host.owners.refresh() == set()
        assert host.owners.owner_of(101) == ProcessId(10, 100 / TICKS)

    def test_the_inode_of_a_closed_socket_may_be_anybodys_later(self, warm: Host, tree: Tree) -> None:
        """The kernel counts to 2^32 and begins anew."""
        tree.close(10, 3)
        warm.live.remove(101)
        tree.hold(20, 5, 777)
        assert warm.pids(777) == [20]
        tree.hold(30, 5, 101)
        assert warm.pids(101) == [30]

    def test_a_process_that_takes_another_name_is_the_same_owner(self, warm: Host, tree: Tree) -> None:
        owner = ProcessId(10, 100 / TICKS)
        tree.name(10, "renamed")
        assert warm.owners.refresh() == set()
        assert warm.owners.process(owner).comm == "renamed"

    def test_a_refresh_never_fails(self, warm: Host, tree: Tree) -> None:
        owners = {ProcessId(pid, 100 / TICKS) for pid in (10, 20, 30)}
        tree.root.rename(tree.root.with_name("elsewhere"))
        assert warm.owners.refresh() == owners
        assert warm.owners.refresh() == set()


class TestPidsUsedAgain:
    """The pid under which a socket was met may be another process's when that is asked for its name."""

    @pytest.fixture
    def raced(self, tree: Tree, clock: Clock, processes: None) -> InodeOwnerResolver:  # noqa: ARG002  # they are to be there
        """Before process 10 is described it has died, and its pid is another's."""

        class Late(ProcfsProcessReader):
            def identify(self, pid: int) -> tuple[ProcessId, str]:
                if pid == 10 and not (tree.root / "10" / "reused").exists():
                    tree.kill(10)
                    tree.process(10, 777, comm="successor", started=200, reused="")
                return super().identify(pid)

        return InodeOwnerResolver(FdScanner(tree.root, clock), ProcessCache(Late(tree.root)), clock)

    def test_the_successor_does_not_get_the_sockets(self, raced: InodeOwnerResolver) -> None:
        raced.resolve({101, 102, 201}, LiveSockets(ALL))
        assert [raced.owner_of(inode) for inode in (101, 102)] == [Unowned.NOT_FOUND] * 2
        assert raced.owner_of(201) == ProcessId(20, 100 / TICKS)

    def test_the_successor_gets_its_own_in_the_next_scrape(self, raced: InodeOwnerResolver) -> None:
        raced.resolve({101, 201}, LiveSockets(ALL))
        raced.refresh()
        raced.resolve({777}, LiveSockets({201, 777}))
        assert raced.owner_of(777) == ProcessId(10, 200 / TICKS)

    def test_a_socket_that_is_closed_meanwhile_does_not_hide_the_others(
        self,
        tree: Tree,
        clock: Clock,
        processes: None,  # noqa: ARG002  # they are to be there
    ) -> None:
        class Late(ProcfsProcessReader):
            def identify(self, pid: int) -> tuple[ProcessId, str]:
                if pid == 10:
                    tree.put(10, 3, "/dev/null")
                return super().identify(pid)

        owners = InodeOwnerResolver(FdScanner(tree.root, clock), ProcessCache(Late(tree.root)), clock)
        owners.resolve({101, 102}, LiveSockets(ALL))
        assert owners.owner_of(102) == ProcessId(10, 100 / TICKS)

    def test_a_descriptor_with_a_number_too_high_to_be_remembered_is_found_all_the_same(
        self, host: Host, tree: Tree
    ) -> None:
        tree.hold(20, 1_000_000, 777)
        assert host.pids(777) == [20]

    def test_a_successor_with_as_many_descriptors_is_read(
        self, warm: Host, tree: Tree, watch: Watch, clock: Clock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Though nothing seems to have changed there, and a child still has the sockets of who is gone."""
        monkeypatch.setattr(fd_scanner, "_FDS_RECHECKED", 0)

        def take_time(*_: int) -> None:
            clock.now += 0.001

        tree.process(40, 101, 102)
        watch.hook = take_time
        warm.pids(999)
        tree.kill(10)
        tree.process(10, 777, 778, started=200)
        warm.owners.refresh()
        assert warm.pids(777, 778) == [10, 10]


class TestInodesUsedAgain:
    """The kernel counts inodes to 2^32 and begins anew: a number may come back before anybody looks."""

    def test_a_new_socket_is_not_who_had_the_number_before(self, warm: Host, tree: Tree) -> None:
        tree.close(10, 3)
        tree.hold(30, 5, 101)
        warm.owners.revalidate([101])
        assert warm.pids(101) == [30]

    def test_nor_is_one_whose_holder_cannot_be_seen(self, warm: Host, tree: Tree) -> None:
        tree.close(10, 3)
        warm.owners.revalidate([101])
        assert warm.resolve(101) == [Unowned.NOT_FOUND]

    def test_who_holds_it_still_is_asked_for_one_descriptor(self, warm: Host, watch: Watch) -> None:
        warm.owners.revalidate([101, 999])
        assert watch.links() == [(10, 3)]
        assert warm.pids(101) == [10]

    def test_one_that_moved_is_found_anew(self, warm: Host, tree: Tree) -> None:
        tree.close(10, 3)
        tree.hold(10, 9, 101)
        warm.owners.revalidate([101])
        assert warm.pids(101) == [10]

    def test_a_process_that_is_gone_holds_nothing(self, warm: Host, tree: Tree) -> None:
        tree.kill(10)
        warm.owners.revalidate([101])
        assert warm.resolve(101) == [Unowned.NOT_FOUND]
