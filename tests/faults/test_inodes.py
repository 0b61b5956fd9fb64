"""Inode numbers wrap around at 2^32: the inode of a closed socket may be reused by a socket of another
process.

No test can create 2^32 sockets: the kernel's responses and /proc are simulated, everything in between is
real.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from exporter.collection.interfaces import HostReaders
from exporter.collection.tracker import SocketTracker
from exporter.model.process import ProcessId
from exporter.model.snapshot import Snapshot
from exporter.model.sockets import ESTABLISHED, LISTEN
from exporter.naming.rules import Namer
from exporter.netlink.source import NetlinkSource
from exporter.owners import released_sockets
from exporter.owners.fd_scanner import FdScanner
from exporter.owners.inode_resolver import InodeOwnerResolver
from exporter.owners.process_cache import ProcessCache
from exporter.procfs.fd_usage import read_fd_usage
from exporter.procfs.netstat import read_counters
from exporter.procfs.process_reader import ProcfsProcessReader
from exporter.procfs.sysctl import read_sysctls

from ..netlink.kernels import Canned
from ..netlink.messages import LOOPBACK, done, row
from ..procfs.trees import Tree

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")

INODE, OTHERS = 101, 201
LISTENING = 1 << 10


class Kernel(Canned):
    """Return a kernel with these sockets."""

    def __init__(self) -> None:
        super().__init__({})

    def has(self, *, connected: bytes = b"", listening: bytes = b"") -> None:
        self.connected, self.listening = connected, listening

    def dump(self, request: bytes, **_: bool) -> Iterator[bytes]:
        states = int.from_bytes(request[16 + 52 : 16 + 56], sys.byteorder)
        listening = self.listening if states & LISTENING else b""
        yield listening + (self.connected if states & 1 << ESTABLISHED else b"") + done()


class Host:
    """Return a /proc with processes 10 and 20, which hold INODE and OTHERS."""

    def __init__(self, root: Path) -> None:
        self.tree = Tree(root)
        self.tree.process(10, INODE, comm="first")
        self.tree.process(20, OTHERS, comm="second")
        self.kernel = Kernel()
        proc = Path("/proc")
        self._observer = SocketTracker(
            NetlinkSource(self.kernel),
            InodeOwnerResolver(FdScanner(root), ProcessCache(ProcfsProcessReader(root))),
            HostReaders(
                partial(read_sysctls, proc), partial(read_counters, proc), partial(read_fd_usage, root)
            ),
            Namer(),
        )

    def look(self) -> Snapshot:
        seen = self._observer.snapshot()
        assert not seen.failed & {"states", "listeners", "owners"}
        return seen

    def reuse(self) -> None:
        """Close the socket of process 10, and reuse its inode in process 20."""
        self.tree.close(10, 3)
        self.tree.hold(20, 9, INODE)


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    # With many thousands of descriptors, it is hours until it is the turn of the one in question.
    monkeypatch.setattr(released_sockets, "_MIN_ALLOWANCE", 0)
    return Host(tmp_path / "proc")


def connection(cookie: int, inode: int) -> bytes:
    return row(ESTABLISHED, cookie, inode, local=(LOOPBACK, 40_000 + cookie), remote=(LOOPBACK, 443))


def owners(seen: Snapshot, state: int) -> dict[int | None, int]:
    """Return pid -> number of sockets in the state; None for unknown processes."""
    counts: dict[int | None, int] = {}
    for group, count in (seen.groups or {}).items():
        if group.state == state:
            pid = group.owner.pid if isinstance(group.owner, ProcessId) else None
            counts[pid] = counts.get(pid, 0) + count
    return counts


def test_new_connection_with_reused_inode_has_the_new_owner(host: Host) -> None:
    host.kernel.has(connected=connection(1, INODE) + connection(2, OTHERS))
    for _ in range(2):
        assert owners(host.look(), ESTABLISHED) == {10: 1, 20: 1}
    host.reuse()
    host.kernel.has(connected=connection(3, INODE) + connection(2, OTHERS))
    for _ in range(2):
        assert owners(host.look(), ESTABLISHED) == {20: 2}


def test_inode_reused_long_after_close_has_the_new_owner(host: Host) -> None:
    host.kernel.has(connected=connection(1, INODE) + connection(2, OTHERS))
    host.look()
    host.kernel.has(connected=connection(2, OTHERS))
    for _ in range(3):
        assert owners(host.look(), ESTABLISHED) == {20: 1}
    host.reuse()
    host.kernel.has(connected=connection(3, INODE) + connection(2, OTHERS))
    assert owners(host.look(), ESTABLISHED) == {20: 2}


def test_owner_is_unknown_when_its_process_is_hidden(host: Host) -> None:
    host.kernel.has(connected=connection(1, INODE) + connection(2, OTHERS))
    host.look()
    host.tree.close(10, 3)
    host.kernel.has(connected=connection(3, INODE) + connection(2, OTHERS))
    assert owners(host.look(), ESTABLISHED) == {None: 1, 20: 1}


def test_new_listener_with_reused_inode_has_the_new_owner(host: Host) -> None:
    def listener(inode: int, port: int) -> bytes:
        return row(LISTEN, 9, inode, local=(LOOPBACK, port), remote=(bytes(4), 0))

    host.kernel.has(listening=listener(INODE, 80) + listener(OTHERS, 81))
    for _ in range(2):
        assert owners(host.look(), LISTEN) == {10: 1, 20: 1}
    host.reuse()
    host.kernel.has(listening=listener(INODE, 8080) + listener(OTHERS, 81))
    for _ in range(2):
        assert owners(host.look(), LISTEN) == {20: 2}
