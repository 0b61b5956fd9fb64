"""Owners of sockets among the real processes of this host."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from exporter.model.process import Owner, ProcessId, Unowned
from exporter.model.sockets import NO_OWNER_KEY
from exporter.owners.fd_scanner import FdScanner
from exporter.owners.inode_resolver import InodeOwnerResolver
from exporter.owners.process_cache import ProcessCache
from exporter.procfs.process_reader import ProcfsProcessReader

from ..procfs.trees import Clock
from ..running import until
from .hosts import LiveSockets

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")

PROC = Path("/proc")


class Child:
    """A process that has sockets open (holder.py)."""

    def __init__(self, stack: ExitStack, channel: socket.socket) -> None:
        self._process = stack.enter_context(
            subprocess.Popen(
                [sys.executable, "-IS", Path(__file__).with_name("holder.py")],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=channel.fileno(),
                text=True,
            )
        )
        stack.callback(self._process.kill)
        self.pid = self._process.pid

    def __call__(self, *command: object) -> Any:
        assert self._process.stdin
        assert self._process.stdout
        print(*command, file=self._process.stdin, flush=True)
        return json.loads(self._process.stdout.readline())

    def end(self) -> None:
        self._process.kill()
        self._process.wait()


class Host:
    """The owners, and all sockets of the children as the live ones."""

    def __init__(self, clock: Clock) -> None:
        self.owners = InodeOwnerResolver(
            FdScanner(PROC, clock), ProcessCache(ProcfsProcessReader(PROC)), clock
        )
        self.live = LiveSockets({NO_OWNER_KEY})

    def owner(self, inode: int) -> Owner:
        self.live.add(inode)
        self.owners.resolve({inode}, self.live)
        return self.owners.owner_of(inode)

    def pid(self, inode: int) -> int | None:
        owner = self.owner(inode)
        return owner.pid if isinstance(owner, ProcessId) else None

    def name(self, inode: int) -> str:
        owner = self.owner(inode)
        assert isinstance(owner, ProcessId)
        return self.owners.process(owner).comm


@pytest.fixture
def children() -> Iterator[tuple[Child, Child]]:
    """Two, the one with the lower pid first, and a channel between them."""
    with ExitStack() as stack:
        ends = [stack.enter_context(end) for end in socket.socketpair()]
        first, second = sorted((Child(stack, end) for end in ends), key=lambda child: child.pid)
        yield first, second


@pytest.fixture
def host(clock: Clock) -> Host:
    return Host(clock)


def refreshed(host: Host) -> set[Owner]:
    """Return the owners that have vanished or released a socket, once there are any."""
    for _ in until("something is stale"):
        if stale := host.owners.refresh() | set(host.owners.transferred.values()):
            return stale
        host.owners.resolve((), host.live)
    raise AssertionError


Children = tuple[Child, Child]


def test_each_process_owns_its_sockets(host: Host, children: Children) -> None:
    one, other = children
    assert (host.pid(one("open")), host.pid(other("open"))) == (one.pid, other.pid)


def test_own_sockets_are_found(host: Host) -> None:
    with socket.socket() as ours:
        assert host.pid(os.fstat(ours.fileno()).st_ino) == os.getpid()


def test_socket_replacing_a_closed_one_is_found(host: Host, children: Children) -> None:
    one, _ = children
    first = one("open")
    assert host.pid(first) == one.pid
    second = one("replace", first)
    assert first != second
    host.live.remove(first)
    assert host.pid(second) == one.pid
    assert host.owners.owner_of(first) is Unowned.NOT_FOUND


def test_a_socket_at_a_high_descriptor_is_found(host: Host, children: Children) -> None:
    one, _ = children
    inode = one("open")
    one("move", inode, 200)
    assert host.pid(inode) == one.pid


def test_parent_owns_sockets_shared_with_forked_children(host: Host, children: Children) -> None:
    one, _ = children
    inode = one("open")
    offspring = [one("fork") for _ in range(3)]
    if min(offspring) < one.pid:
        pytest.skip("the pids have just wrapped around")
    assert host.pid(inode) == one.pid
    assert refresh_few_times(host) == set()


def refresh_few_times(host: Host) -> set[Owner]:
    stale: set[Owner] = set()
    for _ in range(5):
        stale |= host.owners.refresh() | set(host.owners.transferred.values())
        host.owners.resolve((), host.live)
    return stale


def test_child_owns_a_socket_that_the_parent_closed(host: Host, children: Children) -> None:
    one, _ = children
    inode = one("open")
    offspring = one("fork")
    assert host.pid(inode) == one.pid
    owner = host.owners.owner_of(inode)
    one("close", inode)
    assert refreshed(host) == {owner}
    assert host.pid(inode) == offspring


def test_passed_socket_belongs_to_the_receiver(host: Host, children: Children) -> None:
    one, other = children
    inode = other("open")
    owner = host.owner(inode)
    other("send", inode)
    assert one("receive") == inode
    assert host.owners.owner_of(inode) == owner
    other("close", inode)
    assert refreshed(host) == {owner}
    assert host.pid(inode) == one.pid


def test_socket_in_flight_has_no_owner_until_received(host: Host, children: Children, clock: Clock) -> None:
    one, other = children
    inode = one("open")
    one("send", inode)
    one("close", inode)
    assert host.owner(inode) is Unowned.NOT_FOUND
    assert other("receive") == inode
    clock.now += 3600
    assert Unowned.NOT_FOUND in host.owners.refresh()
    assert host.pid(inode) == other.pid


@pytest.mark.parametrize("comm", [b"spoolsv", b"a) R (b", b"two words", b"li\nne", b"\xff\xfe"])
def test_renamed_process_keeps_its_sockets(host: Host, children: Children, comm: bytes) -> None:
    one, _ = children
    inode = one("open")
    owner = host.owner(inode)
    one("name", comm.hex())
    assert host.owners.refresh() == set()
    assert host.owner(inode) == owner
    assert host.name(inode) == comm.decode("utf-8", "surrogateescape")


def test_sockets_of_a_dead_process_belong_to_its_child(host: Host, children: Children) -> None:
    one, other = children
    shared, others = one("open"), other("open")
    offspring = one("fork")
    alone = one("open")
    dead = host.owner(alone)
    assert host.owner(shared) == dead != host.owner(others)
    one.end()
    assert refreshed(host) == {dead}
    # The child lives until it reads the end of a pipe: it may have gone with its parent.
    assert host.pid(alone) is None
    assert host.pid(shared) in (offspring, None)
    assert host.pid(others) == other.pid
