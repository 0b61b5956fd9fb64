"""Sockets of this network namespace whose holders are not among its processes' descriptors."""

from __future__ import annotations

import ctypes
import os
import socket
import struct
import threading
from collections.abc import Callable

import pytest

from exporter.model.sockets import LISTEN
from exporter.procfs.fd_usage import count_open_fds

from ..tools import require
from .in_process import PROC, connect, make_tracker, serve, set_comm
from .namespace import Namespace
from .stepwise import Steps, Stepwise, raise_fd_limit
from .test_transfer import PORT, Owners, close_all, inbound

pytestmark = [pytest.mark.live, require("ip", "nft", "ss")]

LIBC = ctypes.CDLL(None, use_errno=True)
CLONE_FILES, CLONE_NEWNET = 0x400, 0x40000000
SYS_IO_URING_SETUP, SYS_IO_URING_REGISTER, IORING_REGISTER_FILES = 425, 427, 2
UNPRIVILEGED_ID, PR_SET_DUMPABLE = 65534, 4
SYS_EXIT = {"x86_64": 60, "aarch64": 93}


def unshare(flags: int) -> None:
    if LIBC.unshare(flags) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def accept(server: socket.socket, count: int) -> list[socket.socket]:
    return [server.accept()[0] for _ in range(count)]


class Clients:
    """Connections to a server that this process does not accept."""

    def __init__(self, server: socket.socket) -> None:
        self._server = server
        self._open: list[socket.socket] = []

    def connect(self, count: int) -> None:
        self._open += [socket.create_connection(self._server.getsockname()) for _ in range(count)]


def send_into_flight(sock: socket.socket) -> tuple[socket.socket, socket.socket]:
    """Send a socket through a UNIX socket that is not read, and close it: no process holds it."""
    sender, receiver = socket.socketpair()
    socket.send_fds(sender, [b"."], [sock.fileno()])
    sock.close()
    return sender, receiver


def hold_descriptors_elsewhere() -> Steps:
    unshare(CLONE_NEWNET)
    held = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    copies = [os.dup(held.fileno()) for _ in range(17_000)]
    while True:
        yield copies


def activate_services(
    elsewhere: int, service: Callable[[socket.socket], Steps]
) -> tuple[list[Owners], Owners]:
    """Start services in a network namespace of their own that accept from a listener of this one, as systemd
    does for a .socket unit: the first is seen before it accepts, the second is not.

    elsewhere: number of processes that hold 17,000 descriptors each in other namespaces.
    """
    set_comm("activator")
    raise_fd_limit(20_000)
    others = [Stepwise("other", hold_descriptors_elsewhere) for _ in range(elsewhere)]
    first, second = serve(PORT), serve(PORT + 1)
    clients, more_clients = Clients(first), Clients(second)
    tracker = make_tracker()
    third = serve(PORT + 2)
    client, accepted = connect(third)
    flight = send_into_flight(accepted)
    with Stepwise("service", lambda: service(first)) as known:
        # The socket in flight is searched for everywhere: no more than a share of the time is left for that.
        seen = [inbound(tracker.snapshot())]
        clients.connect(10)
        known.step()
        seen.append(inbound(tracker.snapshot()))
        with Stepwise("activated", lambda: service(second)) as new:
            more_clients.connect(10)
            new.step()
            seen.append(inbound(tracker.snapshot()))
            clients.connect(10)
            known.step()
            more_clients.connect(10)
            new.step()
            seen.append(inbound(tracker.snapshot()))
            listening = inbound(tracker.snapshot(), LISTEN)
    for other in others:
        other.__exit__(None, None, None)
    close_all([client, *flight])
    return seen, listening


def serve_elsewhere(server: socket.socket) -> Steps:
    unshare(CLONE_NEWNET)
    held = []
    while True:
        yield
        held += accept(server, 10)


def test_service_with_a_namespace_of_its_own_owns_what_it_accepts(namespace: Namespace) -> None:
    seen, listening = namespace.call(activate_services, 3, serve_elsewhere)
    flight = {"unknown": 1}
    assert seen == [
        flight,
        {"service": 10, **flight},
        {"service": 10, "activated": 10, **flight},
        {"service": 20, "activated": 20, **flight},
    ]
    assert listening == {"activator": 3}


def see(
    steps: Callable[[socket.socket], Steps], process: type[Stepwise] = Stepwise
) -> tuple[list[Owners], int]:
    """Have `steps` accept 20 connections in its second step, and do a third one.

    Return the owners in two collections after each, and the number of its descriptors.
    """
    set_comm("client")
    server = serve(PORT)
    clients, tracker = Clients(server), make_tracker()
    clients.connect(20)
    seen = []
    with process("holder", lambda: steps(server)) as holder:
        server.close()
        for _ in range(2):
            holder.step()
            seen += [inbound(tracker.snapshot()), inbound(tracker.snapshot())]
        return seen, count_open_fds(PROC, holder.pid)


def accept_in_a_thread_with_its_own_table(server: socket.socket) -> Steps:
    started, accepting = threading.Event(), threading.Event()

    def run() -> None:
        started.set()
        accepting.wait()
        unshare(CLONE_FILES)
        held.extend(accept(server, 20))
        done.set()
        threading.Event().wait()

    held: list[socket.socket] = []
    done = threading.Event()
    threads = [threading.Thread(target=run, daemon=True)]
    threads += [threading.Thread(target=threading.Event().wait, daemon=True) for _ in range(3)]
    for thread in threads:
        thread.start()
    yield
    accepting.set()
    done.wait()
    # As many descriptors as the thread has: the numbers do not tell that the tables differ.
    copies = [os.dup(2) for _ in range(20)]
    while True:
        yield copies


def test_thread_with_a_descriptor_table_of_its_own_is_searched(namespace: Namespace) -> None:
    seen, _ = namespace.call(see, accept_in_a_thread_with_its_own_table)
    assert seen == [{"holder": 20}] * 4


class WithoutMainThread(Stepwise):
    """Another thread does the steps, and the main one exits."""

    def _run(self, steps: Steps, request: int, report: int) -> None:
        threading.Thread(target=super()._run, args=(steps, request, report)).start()
        LIBC.syscall(SYS_EXIT[os.uname().machine], 0)


class Unprivileged(WithoutMainThread):
    """The same, as another user: /proc/PID/fd belongs to root then."""

    def _run(self, steps: Steps, request: int, report: int) -> None:
        drop_privileges()
        super()._run(steps, request, report)


def drop_privileges() -> None:
    os.setgroups([])
    os.setresgid(UNPRIVILEGED_ID, UNPRIVILEGED_ID, UNPRIVILEGED_ID)
    os.setresuid(UNPRIVILEGED_ID, UNPRIVILEGED_ID, UNPRIVILEGED_ID)
    LIBC.prctl(PR_SET_DUMPABLE, 1, 0, 0, 0)


def accept_all(server: socket.socket) -> Steps:
    yield
    held = accept(server, 20)
    while True:
        yield held


def test_process_whose_main_thread_has_exited_is_searched(namespace: Namespace) -> None:
    seen, descriptors = namespace.call(see, accept_all, WithoutMainThread)
    assert seen == [{"holder": 20}] * 4
    assert 40 <= descriptors < 80


def see_without_privileges() -> tuple[Owners, int]:
    set_comm("client")
    server = serve(PORT)
    clients = Clients(server)
    clients.connect(20)
    with Unprivileged("holder", lambda: accept_all(server)) as holder:
        server.close()
        holder.step()
        drop_privileges()
        return inbound(make_tracker().snapshot()), count_open_fds(PROC, holder.pid)


def test_process_without_main_thread_is_searched_by_its_user(namespace: Namespace) -> None:
    owners, descriptors = namespace.call(see_without_privileges)
    assert owners == {"holder": 20}
    assert descriptors >= 20


def register_with_io_uring(held: list[socket.socket]) -> None:
    """Register the sockets with a new instance, and close their descriptors."""
    ring = LIBC.syscall(SYS_IO_URING_SETUP, 8, ctypes.create_string_buffer(120))
    fds = struct.pack(f"={len(held) + 1}i", *(sock.fileno() for sock in held), -1)
    if LIBC.syscall(SYS_IO_URING_REGISTER, ring, IORING_REGISTER_FILES, fds, len(held) + 1) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    close_all(held)


def register_before_the_first_collection(server: socket.socket) -> Steps:
    yield
    register_with_io_uring(accept(server, 20))
    while True:
        yield


def register_between_collections(server: socket.socket) -> Steps:
    yield
    held = accept(server, 20)
    yield
    register_with_io_uring(held)
    yield


def has_io_uring() -> bool:
    ring = LIBC.syscall(SYS_IO_URING_SETUP, 8, ctypes.create_string_buffer(120))
    if ring >= 0:
        os.close(ring)
    return bool(ring >= 0)


@pytest.mark.skipif(not has_io_uring(), reason="needs io_uring")
@pytest.mark.parametrize("steps", [register_before_the_first_collection, register_between_collections])
def test_sockets_registered_with_io_uring_are_found(
    namespace: Namespace, steps: Callable[[socket.socket], Steps]
) -> None:
    seen, _ = namespace.call(see, steps)
    assert seen == [{"holder": 20}] * 4
