"""Dead file descriptors in a simulated /proc: what counts, what is read for it, and failures."""

from __future__ import annotations

import errno
import sys
from collections import Counter
from collections.abc import Collection
from pathlib import Path

import pytest

from exporter.model.dead_fds import DeadFd
from exporter.model.process import Owner
from exporter.owners.dead_fd_finder import DeadFdFinder
from exporter.owners.fd_scanner import FdScanner
from exporter.owners.inode_resolver import InodeOwnerResolver
from exporter.owners.process_cache import ProcessCache
from exporter.procfs.process_reader import ProcfsProcessReader

from ..procfs.trees import Clock, Tree, Watch
from .hosts import ALL, LiveSockets

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")


class Host:
    """Collections of a host. All sockets of the kernel's tables are in `live`."""

    def __init__(self, tree: Tree, watch: Watch, clock: Clock, *, long_running: bool = True) -> None:
        self.tree = tree
        self.watch = watch
        self.clock = clock
        self.live = set(ALL)
        self.later: set[int] | None = None
        """Sockets of the second dump of a single collection, if they differ from the first."""
        self.protocols: dict[int, str] = {}
        self.asked: list[tuple[int, int]] = []
        self.dumps = 0
        self.has_current_bound_only = True
        self.mptcp: set[int] | None = set()
        scanner = FdScanner(tree.root, clock)
        processes = ProcessCache(ProcfsProcessReader(tree.root))
        self.owners = InodeOwnerResolver(scanner, processes, clock)
        self.finder = DeadFdFinder(
            scanner, processes, self, self.read_protocol, clock, long_running=long_running
        )

    def read_protocol(self, path: str) -> str:
        pid, _, fd = path.split("/")[-3:]
        self.asked.append((int(pid), int(fd)))
        link = Path(path).readlink()
        return self.protocols.get(int(link.name.removeprefix("socket:[").rstrip("]")), "TCP")

    def bound_only_owner_keys(self) -> Collection[int]:
        return ()

    def owner_keys(self) -> set[int]:
        self.dumps += 1
        return self.live if self.later is None else self.later

    def mptcp_owner_keys(self) -> set[int] | None:
        return self.mptcp

    def collect(self) -> list[DeadFd]:
        """Run a collection, a minute after the previous one. `watch` then has the links that find() read."""
        self.clock.now += 60.0
        live = LiveSockets(self.live)
        self.owners.refresh()
        self.finder.observe(set(live), (), self.owner_of)
        self.owners.resolve(live, live)
        self.watch.links()
        return self.finder.find(set(live), self.owner_of)

    def owner_of(self, inode: int) -> Owner:
        return self.owners.owner_of(inode)

    def dead(self) -> Counter[tuple[int, bool]]:
        """Return (pid, was connected) of the dead descriptors of a collection."""
        return Counter((row.owner.pid, row.was_connected) for row in self.collect())


@pytest.fixture
def host(tree: Tree, watch: Watch, clock: Clock, processes: None) -> Host:  # noqa: ARG001  # they are to be there
    """A host of three processes, after two collections."""
    host = Host(tree, watch, clock)
    for _ in range(2):
        assert not host.collect()
    return host


def test_lost_connection_is_reported_in_the_second_collection(host: Host) -> None:
    host.live -= {101}
    assert host.dead() == {}
    host.clock.now += 4.0
    (row,) = host.collect()
    assert (row.owner.pid, row.was_connected, row.age_seconds) == (10, True, 64.0)


def test_socket_of_another_protocol_is_asked_once(host: Host, tree: Tree) -> None:
    host.protocols[909] = "UNIX-STREAM"
    tree.hold(20, 9, 909)
    for _ in range(5):
        assert host.dead() == {}
    assert host.asked == [(20, 9)]


def test_never_seen_socket_needs_two_dumps_after_it_was_read(host: Host, tree: Tree) -> None:
    tree.hold(20, 9, 909)
    assert [host.dead() for _ in range(3)] == [{}, {}, {(20, False): 1}]


def test_never_seen_socket_needs_current_bound_only_sockets(host: Host, tree: Tree) -> None:
    tree.hold(20, 9, 909)
    host.live -= {101}
    host.has_current_bound_only = False
    for _ in range(5):
        dead = host.dead()
    assert dead == {(10, True): 1}
    host.has_current_bound_only = True
    assert host.dead() == {(10, True): 1, (20, False): 1}


def test_mptcp_socket_without_subflow_is_not_dead(host: Host) -> None:
    host.protocols = {101: "MPTCP", 102: "MPTCP"}
    host.live -= {101, 102}
    host.mptcp = {101}
    for _ in range(3):
        dead = host.dead()
    assert dead == {(10, True): 1}
    host.mptcp = None
    assert host.dead() == {(10, True): 1}


def test_reused_descriptor_is_not_dead(host: Host, tree: Tree) -> None:
    host.live -= {101}
    host.dead()
    tree.hold(10, 3, 909)
    host.live |= {909}
    assert host.dead() == {}


def test_shared_socket_counts_for_the_lowest_pid_and_init_last(host: Host, tree: Tree) -> None:
    tree.hold(1, 9, 201)
    tree.hold(30, 9, 201)
    tree.hold(20, 9, 201)
    host.live -= {201}
    for _ in range(3):
        dead = host.dead()
    assert dead == {(20, True): 2}
    tree.kill(20)
    assert host.dead() == {(30, True): 1}
    tree.kill(30)
    assert host.dead() == {(1, True): 1}


def test_unreadable_process_has_none(host: Host, watch: Watch) -> None:
    host.live -= {101, 201}

    def refuse(pid: int, _: int) -> None:
        if pid == 10:
            raise PermissionError(errno.EACCES, "refused")

    host.dead()
    watch.hook = refuse
    assert host.dead() == {(20, True): 1}


def test_reused_pid_has_none(host: Host, tree: Tree) -> None:
    host.live -= {101}
    for _ in range(2):
        dead = host.dead()
    assert dead == {(10, True): 1}
    tree.kill(10)
    tree.process(10, started=200)
    assert host.dead() == {}


def test_fails_if_the_kernel_reports_no_protocols(host: Host) -> None:
    host.protocols[101] = ""
    host.live -= {101}
    host.dead()
    with pytest.raises(RuntimeError, match="does not report the protocols of sockets"):
        host.collect()


class TestManyDeadFds:
    COUNT = 1_200

    @pytest.fixture
    def leaky(self, host: Host, tree: Tree) -> Host:
        """Return a host with a process with 1,200 dead descriptors."""
        tree.process(40, *range(40_000, 40_000 + self.COUNT))
        for _ in range(6):
            dead = host.dead()
        assert dead == {(40, False): self.COUNT}
        return host

    def test_a_bounded_number_is_read_again(self, leaky: Host, watch: Watch) -> None:
        seen: set[int] = set()
        for _ in range(7):
            assert leaky.dead() == {(40, False): self.COUNT}
            links = watch.links()
            assert len(links) <= 500
            seen |= {fd for _, fd in links}
        assert len(seen) == self.COUNT
        assert len(leaky.asked) == self.COUNT

    def test_all_are_read_again_when_the_number_of_descriptors_falls(self, leaky: Host, tree: Tree) -> None:
        for fd in range(700, 800):
            tree.close(40, fd)
        assert leaky.dead() == {(40, False): self.COUNT - 100}

    def test_replaced_descriptors_are_noticed_in_rotation(self, leaky: Host, tree: Tree) -> None:
        for fd in range(700, 800):
            tree.put(40, fd, "/dev/null")
        for _ in range(6):
            dead = leaky.dead()
        assert dead == {(40, False): self.COUNT - 100}

    def test_first_checks_are_bounded(self, host: Host, tree: Tree) -> None:
        tree.process(40, *range(40_000, 45_100))
        for _ in range(8):
            before = len(host.asked)
            host.dead()
            assert len(host.asked) - before <= 5_000
        assert host.dead() == {(40, False): 5_100}


@pytest.mark.usefixtures("processes")
class TestSingleCollection:
    @pytest.fixture
    def host(self, tree: Tree, watch: Watch, clock: Clock) -> Host:
        return Host(tree, watch, clock, long_running=False)

    def test_second_dump_confirms(self, host: Host) -> None:
        host.live -= {101, 202}
        assert host.dead() == {(10, False): 1, (20, False): 1}
        assert host.dumps == 1

    def test_socket_of_the_second_dump_is_newer(self, host: Host) -> None:
        host.live -= {101, 202}
        host.later = {*host.live, 101}
        assert host.dead() == {(20, False): 1}

    def test_no_second_dump_without_absent_sockets_of_tcp(self, host: Host, tree: Tree) -> None:
        host.protocols[909] = "UNIX-STREAM"
        tree.hold(20, 9, 909)
        assert host.dead() == {}
        assert host.dumps == 0
        assert host.asked == [(20, 9)]

    def test_socket_that_vanishes_before_the_second_dump_is_not_reported(self, host: Host) -> None:
        host.live -= {101}
        host.later = host.live - {202}
        assert host.dead() == {(10, False): 1}
