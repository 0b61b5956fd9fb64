"""Owners of sockets in a /proc of our own: found, cached, and forgotten in time."""

from __future__ import annotations

import errno
import sys

import pytest

from exporter.model.process import ProcessId, Unowned
from exporter.model.sockets import NO_OWNER_KEY
from exporter.owners import released_sockets
from exporter.owners.fd_scanner import FdScanner
from exporter.owners.inode_resolver import InodeOwnerResolver
from exporter.owners.process_cache import ProcessCache
from exporter.procfs.process_reader import ProcfsProcessReader

from ..procfs.trees import TICKS, Clock, Tree, Watch
from .hosts import ALL, Host, LiveSockets

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")


def sockets_of(*pids: int) -> list[tuple[int, int]]:
    """Return the descriptors of their sockets: so few are read in each collection, in rotation."""
    return [(pid, number) for pid in pids for number in (3, 4)]


class TestSearch:
    def test_owners_are_found(self, host: Host) -> None:
        assert host.resolve(101, 302) == [ProcessId(10, 100 / TICKS), ProcessId(30, 100 / TICKS)]
        assert host.owners.process(ProcessId(10, 100 / TICKS)).comm == "worker"
        assert not host.owners.unreadable_processes

    def test_unowned_inode_is_not_found(self, host: Host) -> None:
        assert host.resolve(101, 999) == [ProcessId(10, 100 / TICKS), Unowned.NOT_FOUND]
        assert host.owners.owner_of(998) is Unowned.NOT_FOUND
        assert host.owners.unresolved_reason == "not_found"

    def test_no_search_for_a_socket_without_owner(self, host: Host, watch: Watch) -> None:
        host.resolve(NO_OWNER_KEY)
        assert host.asked_for_live == 0
        assert watch.links() == []

    def test_lowest_pid_owns_a_shared_socket(self, host: Host, tree: Tree) -> None:
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

    def test_process_that_vanishes_before_it_is_loaded_is_counted(
        self, host: Host, tree: Tree, watch: Watch
    ) -> None:
        def vanish(pid: int, _: int) -> None:
            if pid == 10:
                (tree.root / "10" / "stat").unlink(missing_ok=True)

        watch.hook = vanish
        assert host.pids(101, 201) == [None, 20]
        assert host.owners.unreadable_processes == {"vanished": 1}

    def test_raises_without_proc(self, tree: Tree, host: Host) -> None:
        tree.root.rename(tree.root.with_name("elsewhere"))
        with pytest.raises(FileNotFoundError):
            host.resolve(101)


class TestReasons:
    def test_unreadable_processes(self, host: Host, watch: Watch) -> None:
        def refuse(pid: int, _: int) -> None:
            if pid == 20:
                raise PermissionError(errno.EACCES, "refused")

        watch.hook = refuse
        assert host.pids(101, 201) == [10, None]
        assert host.owners.unreadable_processes == {"permission": 1}
        assert host.owners.unresolved_reason == "unreadable"

    def test_reason_lasts_as_long_as_the_failure(self, host: Host, watch: Watch, clock: Clock) -> None:
        def fail(pid: int, _: int) -> None:
            if pid == 20:
                raise OSError(errno.EIO, "failed")

        watch.hook = fail
        assert host.pids(101, 201) == [10, None]
        assert host.owners.unreadable_processes == {"error": 1}
        assert host.owners.unresolved_reason == "unreadable"
        watch.hook = lambda *_: None
        clock.now += 3600
        assert host.owners.refresh() == {Unowned.NOT_FOUND}
        assert host.pids(101, 201) == [10, 20]
        assert not host.owners.unreadable_processes

    def test_process_with_unreadable_attributes_is_counted_in_every_search(
        self, host: Host, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(self: ProcfsProcessReader, pid: int) -> tuple[ProcessId, str]:
            if pid == 20:
                raise OSError(errno.EIO, "failed")
            return identify(self, pid)

        identify = ProcfsProcessReader.identify
        monkeypatch.setattr(ProcfsProcessReader, "identify", fail)
        for inode in (777, 778, 779):
            assert host.pids(201, inode) == [None, None]
            assert host.owners.unreadable_processes == {"error": 1}
            assert host.owners.unresolved_reason == "unreadable"

    def test_hidden_processes(self, host: Host, tree: Tree) -> None:
        tree.kill(1)
        assert host.pids(101, 999) == [10, None]
        assert host.owners.unresolved_reason == "hidden"


class TestLaterSearch:
    def test_reads_nothing_if_all_are_known(self, warm: Host, watch: Watch) -> None:
        asked = warm.asked_for_live
        assert warm.pids(*ALL) == [10, 10, 20, 20, 30, 30]
        assert warm.asked_for_live == asked
        assert watch.links() == sockets_of(10, 20, 30)

    def test_reads_one_descriptor_for_a_replaced_socket(self, warm: Host, tree: Tree, watch: Watch) -> None:
        warm.owners.refresh()
        watch.links()
        tree.hold(20, 4, 777)
        warm.live.remove(202)
        assert warm.pids(777) == [20]
        assert watch.links() == [(20, 4), *sockets_of(10, 20, 30)]

    def test_reads_few_of_thousands_of_descriptors(self, host: Host, tree: Tree, watch: Watch) -> None:
        for pid in range(100, 110):
            tree.process(pid, *range(pid * 1000, pid * 1000 + 200))
        inodes = [inode for pid in range(100, 110) for inode in range(pid * 1000, pid * 1000 + 200)]
        assert host.pids(*ALL, *inodes)[-1] == 109
        watch.links()
        tree.hold(105, 203, 777)
        assert host.pids(777) == [105]
        # 64 are read in rotation.
        assert len(watch.links()) <= 64 + 8

    def test_reads_a_descriptor_that_was_no_socket(
        self, warm: Host, tree: Tree, watch: Watch, clock: Clock
    ) -> None:
        """There are sockets without owner: the descriptor must not be taken for one of theirs."""

        def take_time(*_: int) -> None:
            clock.now += 0.001

        watch.hook = take_time
        warm.pids(999)
        tree.hold(20, 1, 777)
        tree.put(20, 5, "/dev/null")
        assert warm.pids(777) == [20]

    def test_closed_socket_is_not_assigned(self, host: Host, tree: Tree) -> None:
        host.resolve(302)
        tree.kill(10)
        tree.process(40, 101)
        host.owners.refresh()
        assert host.pids(101) == [40]


class TestChanges:
    def test_nothing_is_stale_without_changes(self, warm: Host) -> None:
        assert warm.owners.refresh() == set()

    def test_vanished_owner_is_stale_and_its_sockets_re_resolved(self, warm: Host, tree: Tree) -> None:
        tree.process(40, 101, 102)
        tree.kill(10)
        assert warm.owners.refresh() == {ProcessId(10, 100 / TICKS)}
        assert warm.owners.owner_of(101) is Unowned.NOT_FOUND
        assert warm.pids(101, 102, 201) == [40, 40, 20]
        assert warm.owners.process(ProcessId(10, 100 / TICKS)).comm == "worker"
        warm.owners.retain(set())
        with pytest.raises(KeyError):
            warm.owners.process(ProcessId(10, 100 / TICKS))

    def test_reused_pid_is_another_owner(self, warm: Host, tree: Tree) -> None:
        tree.kill(10)
        tree.process(10, 777, 102, comm="successor", started=200)
        assert warm.owners.refresh() == {ProcessId(10, 100 / TICKS)}
        warm.live.remove(101)
        successor = ProcessId(10, 200 / TICKS)
        assert warm.resolve(777, 102) == [successor, successor]
        assert warm.owners.process(successor).comm == "successor"

    def test_transferred_socket_is_re_resolved_in_the_next_collection(self, warm: Host, tree: Tree) -> None:
        """The others of its owner are not: there may be thousands."""
        tree.process(40, 101)
        tree.close(10, 3)
        assert warm.owners.refresh() == set()
        assert warm.owners.transferred == {}
        warm.resolve()
        assert warm.owners.refresh() == set()
        assert warm.owners.transferred == {101: ProcessId(10, 100 / TICKS)}
        assert warm.owners.owner_of(101) is Unowned.NOT_FOUND
        assert warm.owners.owner_of(102) == ProcessId(10, 100 / TICKS)
        assert warm.pids(101, 102) == [40, 10]
        warm.owners.refresh()
        assert warm.owners.transferred == {}

    def test_socket_moved_within_its_process_keeps_its_owner(
        self, warm: Host, tree: Tree, watch: Watch, clock: Clock
    ) -> None:
        """To a high descriptor that was a file, so that as many are open as before."""

        def take_time(*_: int) -> None:
            clock.now += 0.01

        tree.put(10, 200, "/dev/null")
        watch.hook = take_time
        for _ in range(2):  # No full scan is allowed for some time after these.
            warm.pids(999)
            clock.now += 15
            warm.owners.refresh()
        tree.close(10, 3)
        tree.hold(10, 200, 101)
        for _ in range(3):
            assert warm.pids(101) == [10]
            warm.owners.refresh()

    def test_socket_that_replaced_a_transferred_one_is_found_at_once(self, warm: Host, tree: Tree) -> None:
        tree.process(40, 101)
        tree.hold(10, 3, 777)
        assert warm.pids(777) == [10]

    def test_closed_socket_makes_no_owner_stale(self, warm: Host, tree: Tree) -> None:
        """Otherwise all other sockets of a busy process would be counted again in every collection."""
        tree.close(10, 3)
        warm.live.remove(101)
        for _ in range(3):
            assert warm.owners.refresh() == set()
            assert warm.owners.transferred == {}
            warm.resolve()

    def test_socket_in_a_rechecked_descriptor_is_found(self, warm: Host, tree: Tree) -> None:
        tree.hold(10, 3, 777)
        warm.live.remove(101)
        warm.owners.refresh()
        assert warm.pids(777) == [10]

    def test_child_that_releases_a_shared_socket_changes_nothing(self, host: Host, tree: Tree) -> None:
        tree.process(40, 101, 555)
        assert host.pids(*ALL, 555)[0] == 10
        tree.close(40, 3)
        for _ in range(2):
            assert host.owners.refresh() == set()
            assert host.owners.transferred == {}
            host.resolve()
        assert host.owners.owner_of(101) == ProcessId(10, 100 / TICKS)

    def test_inode_of_a_closed_socket_can_get_another_owner(self, warm: Host, tree: Tree) -> None:
        """The kernel counts to 2^32 and starts again."""
        tree.close(10, 3)
        warm.live.remove(101)
        tree.hold(20, 5, 777)
        assert warm.pids(777) == [20]
        tree.hold(30, 5, 101)
        assert warm.pids(101) == [30]

    def test_renamed_process_is_the_same_owner(self, warm: Host, tree: Tree) -> None:
        owner = ProcessId(10, 100 / TICKS)
        tree.name(10, "renamed")
        assert warm.owners.refresh() == set()
        assert warm.owners.process(owner).comm == "renamed"

    def test_a_refresh_never_fails(self, warm: Host, tree: Tree) -> None:
        owners = {ProcessId(pid, 100 / TICKS) for pid in (10, 20, 30)}
        tree.root.rename(tree.root.with_name("elsewhere"))
        assert warm.owners.refresh() == owners
        assert warm.owners.refresh() == set()


class TestReusedPids:
    """The pid with which a socket was found can be another process's when its attributes are read."""

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

    def test_next_process_does_not_get_the_sockets(self, raced: InodeOwnerResolver) -> None:
        raced.resolve({101, 102, 201}, LiveSockets(ALL))
        assert [raced.owner_of(inode) for inode in (101, 102)] == [Unowned.NOT_FOUND] * 2
        assert raced.owner_of(201) == ProcessId(20, 100 / TICKS)

    def test_next_process_gets_its_own_sockets(self, raced: InodeOwnerResolver) -> None:
        raced.resolve({101, 201}, LiveSockets(ALL))
        raced.refresh()
        raced.resolve({777}, LiveSockets({201, 777}))
        assert raced.owner_of(777) == ProcessId(10, 200 / TICKS)

    def test_closed_socket_does_not_hide_the_others(
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

    def test_socket_at_a_high_descriptor_is_found(self, host: Host, tree: Tree) -> None:
        tree.hold(20, 1_000_000, 777)
        assert host.pids(777) == [20]

    def test_next_process_with_equal_fd_count_is_read(
        self, warm: Host, tree: Tree, watch: Watch, clock: Clock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Though nothing seems to have changed there, and a child still has the sockets of who is gone."""
        monkeypatch.setattr(released_sockets, "_MIN_ALLOWANCE", 0)

        def take_time(*_: int) -> None:
            clock.now += 0.001

        tree.process(40, 101, 102)
        watch.hook = take_time
        warm.pids(999)
        tree.kill(10)
        tree.process(10, 777, 778, started=200)
        warm.owners.refresh()
        assert warm.pids(777, 778) == [10, 10]


class TestReusedInodes:
    """The kernel counts inodes to 2^32 and starts again: a number can return before the next collection."""

    def test_new_socket_does_not_get_the_previous_owner(self, warm: Host, tree: Tree) -> None:
        tree.close(10, 3)
        tree.hold(30, 5, 101)
        warm.owners.revalidate([101])
        assert warm.pids(101) == [30]

    def test_new_socket_of_an_unreadable_process_has_no_owner(self, warm: Host, tree: Tree) -> None:
        tree.close(10, 3)
        warm.owners.revalidate([101])
        assert warm.resolve(101) == [Unowned.NOT_FOUND]

    def test_current_owner_is_confirmed_with_one_descriptor(self, warm: Host, watch: Watch) -> None:
        warm.owners.revalidate([101, 999])
        assert watch.links() == [(10, 3)]
        assert warm.pids(101) == [10]

    def test_moved_socket_is_found_again(self, warm: Host, tree: Tree) -> None:
        tree.close(10, 3)
        tree.hold(10, 9, 101)
        warm.owners.revalidate([101])
        assert warm.pids(101) == [10]

    def test_vanished_process_owns_nothing(self, warm: Host, tree: Tree) -> None:
        tree.kill(10)
        warm.owners.revalidate([101])
        assert warm.resolve(101) == [Unowned.NOT_FOUND]
