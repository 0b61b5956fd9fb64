"""This process's own sockets through psutil, on whatever system this is."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest

from exporter.model.sockets import CLOSE_WAIT, ESTABLISHED, LISTEN, NO_OWNER_KEY, TIME_WAIT, Listener, Socket
from exporter.portable.psutil_source import PsutilSource

from ..netlink.messages import rows_of
from ..running import until
from ..systems import unless_wine

no_pids = unless_wine("accepted sockets and listeners have no pid")

LOOPBACK = bytes((127, 0, 0, 1))
LOOPBACK6 = bytes(15) + b"\1"


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as opened:
        yield opened


def ours() -> tuple[list[Socket], list[Listener]]:
    """Return the sockets of this process."""
    source, pid = PsutilSource(), os.getpid()
    sockets = [one for one in rows_of(source.full_sockets()) if one.owner_key == pid]
    return sockets, [one for one in source.listeners() if one.owner_key == pid]


class TestRealSockets:
    @no_pids
    @pytest.mark.parametrize(
        ("family", "host", "raw"),
        [(socket.AF_INET, "127.0.0.1", LOOPBACK), (socket.AF_INET6, "::1", LOOPBACK6)],
        ids=["IPv4", "IPv6"],
    )
    def test_owner_key_is_the_pid(
        self, stack: ExitStack, family: socket.AddressFamily, host: str, raw: bytes
    ) -> None:
        listener = stack.enter_context(socket.create_server((host, 0), family=family))
        port = listener.getsockname()[1]
        client = stack.enter_context(socket.create_connection((host, port)))
        stack.enter_context(listener.accept()[0])
        client_port, pid = client.getsockname()[1], os.getpid()
        sockets, listeners = ours()
        assert Listener(raw, port, pid, None, None) in listeners
        assert Socket(ESTABLISHED, raw, client_port, raw, port, pid, 0) in sockets
        assert Socket(ESTABLISHED, raw, port, raw, client_port, pid, 0) in sockets

    @no_pids
    @pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="no socket for both families here")
    def test_ipv4_connection_of_a_dual_stack_listener_is_ipv4(self, stack: ExitStack) -> None:
        listener = stack.enter_context(
            socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True)
        )
        port = listener.getsockname()[1]
        client = stack.enter_context(socket.create_connection(("127.0.0.1", port)))
        stack.enter_context(listener.accept()[0])
        sockets, listeners = ours()
        assert Listener(bytes(16), port, os.getpid(), None, None) in listeners
        expected = Socket(ESTABLISHED, LOOPBACK, port, LOOPBACK, client.getsockname()[1], os.getpid(), 0)
        assert expected in sockets

    def test_key_changes_with_the_state_only(self, stack: ExitStack) -> None:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        port = listener.getsockname()[1]
        client = stack.enter_context(socket.create_connection(("127.0.0.1", port)))
        accepted = stack.enter_context(listener.accept()[0])

        def keys() -> set[object]:
            source = PsutilSource()
            return {
                key
                for one in source.full_sockets()
                for key in one.keys
                if isinstance(key, Socket) and key[2] == port
            }

        before = keys()
        assert len(before) == 1
        assert keys() == before
        client.shutdown(socket.SHUT_WR)
        assert accepted.recv(1) == b""
        for _ in until("CLOSE_WAIT"):
            if {key[0] for key in keys() if isinstance(key, Socket)} == {CLOSE_WAIT}:
                break
        assert not keys() & before

    @pytest.mark.skipif(sys.platform != "linux", reason="TIME_WAIT is reliably visible only on Linux")
    def test_time_wait_has_no_owner(self, stack: ExitStack) -> None:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        port = listener.getsockname()[1]
        client = stack.enter_context(socket.create_connection(("127.0.0.1", port)))
        accepted = stack.enter_context(listener.accept()[0])
        client_port = client.getsockname()[1]
        client.close()
        assert accepted.recv(1) == b""
        accepted.close()
        expected = Socket(TIME_WAIT, LOOPBACK, client_port, LOOPBACK, port, NO_OWNER_KEY, 0)
        for _ in until("it is in TIME_WAIT"):
            if expected in rows_of(PsutilSource().full_sockets()):
                break


def test_listeners_are_not_among_the_sockets() -> None:
    with socket.create_server(("127.0.0.1", 0)):
        assert LISTEN not in {one.state for one in rows_of(PsutilSource().full_sockets())}


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_owner_key_of_a_shared_socket_is_the_lowest_pid(stack: ExitStack) -> None:
    listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
    port = listener.getsockname()[1]
    client = stack.enter_context(socket.create_connection(("127.0.0.1", port)))
    accepted = stack.enter_context(listener.accept()[0])
    shared = [listener.fileno(), accepted.fileno()]
    children = []
    for _ in range(2):
        command = [sys.executable, "-IS", "-c", "print(flush=True); input()"]
        child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, pass_fds=shared)
        children.append(stack.enter_context(child))
        assert child.stdin
        stack.callback(child.stdin.close)
        assert child.stdout
        child.stdout.readline()
    lowest = min(os.getpid(), *(child.pid for child in children))

    source = PsutilSource()
    sockets = [one for one in rows_of(source.full_sockets()) if one.local_port == port]
    assert [(one.remote_port, one.owner_key) for one in sockets] == [(client.getsockname()[1], lowest)]
    assert [one.owner_key for one in source.listeners() if one.local_port == port] == [lowest]

    # Of the others, when the lowest has closed its descriptors.
    listener.close()
    accepted.close()
    rest = sorted({os.getpid(), *(child.pid for child in children)} - {os.getpid()})
    sockets = [one for one in rows_of(source.full_sockets()) if one.local_port == port]
    assert [one.owner_key for one in sockets] == [rest[0]]
    assert [one.owner_key for one in source.listeners() if one.local_port == port] == [rest[0]]


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_twin_listeners_of_an_unreadable_process_are_one(stack: ExitStack, tmp_path: Path) -> None:
    """So psutil does, as a blind spot says: without a descriptor its rows are equal."""
    first = stack.enter_context(socket.create_server(("127.0.0.1", 0), reuse_port=True))
    port = first.getsockname()[1]
    stack.enter_context(socket.create_server(("127.0.0.1", port), reuse_port=True))

    def count(procfs: Path) -> int:
        source = PsutilSource(procfs)
        list(source.full_sockets())
        return sum(one.local_port == port for one in source.listeners())

    stack.callback(setattr, psutil, "PROCFS_PATH", psutil.PROCFS_PATH)
    # No process is visible in this one.
    (tmp_path / "net").symlink_to("/proc/net")
    assert (count(Path("/proc")), count(tmp_path)) == (2, 1)
