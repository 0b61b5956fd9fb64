"""The kernel's counters grow with the events that they are documented to count."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from time import sleep

import pytest

from exporter.model.host import FdUsage, KernelCounters
from exporter.procfs.fd_usage import read_fd_usage
from exporter.procfs.netstat import read_counters

from .helpers import wait_until
from .namespace import Namespace, enter

pytestmark = pytest.mark.live

PROC = Path("/proc")
UNPRIVILEGED_UID = 65534


def counters_after(act: Callable[[], None], is_visible: Callable[[KernelCounters], bool]) -> KernelCounters:
    act()
    wait_until(lambda: is_visible(read_counters(PROC)))
    return read_counters(PROC)


def connect_and_close(times: int) -> None:
    """Connect and close; the client closes first and keeps the TIME_WAIT."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        for _ in range(times):
            with socket.create_connection(listener.getsockname()) as client:
                accepted, _ = listener.accept()
            client.close()
            accepted.close()


def overflow_the_backlog() -> None:
    """Connect six times to a listener whose accept queue takes three, and accept no connection."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=2))
        for _ in range(6):
            client = stack.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex(listener.getsockname())
        sleep(0.1)


def fill_the_syn_queue() -> None:
    """Connect six times to a listener whose SYN queue has place for two.

    TCP_DEFER_ACCEPT keeps connections there until they have sent data.
    """
    with ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, 60)
        listener.bind(("127.0.0.1", 0))
        listener.listen(1)
        for _ in range(6):
            client = stack.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex(listener.getsockname())
        sleep(0.1)


def close_with_data_unread() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname())
        accepted, _ = listener.accept()
        client.sendall(b"never read")
        sleep(0.1)
        accepted.close()
        client.close()


def time_wait_count(counters: KernelCounters) -> int:
    return (counters.time_wait_started or 0) + (counters.time_wait_overflows or 0)


def test_counters_of_a_new_namespace_are_zero(namespace: Namespace) -> None:
    counters = namespace.call(read_counters, PROC)
    assert not counters.errors
    assert counters.aborts == dict.fromkeys(["close", "data", "timeout", "linger", "memory", "failed"], 0)
    assert (counters.time_wait_started, counters.time_wait_overflows, counters.time_wait) == (0, 0, 0)
    assert (counters.listen_overflows, counters.listen_drops) == (0, 0)
    assert (counters.syn_queue_drops, counters.backlog_drops, counters.time_wait_reused) == (0, 0, 0)


def test_values_of_the_whole_host_are_available_in_a_namespace(namespace: Namespace) -> None:
    with socket.create_server(("127.0.0.1", 0)):
        counters = namespace.call(read_counters, PROC)
    assert counters.orphans is not None
    assert counters.memory_bytes is not None
    assert counters.memory_bytes % os.sysconf("SC_PAGE_SIZE") == 0


def test_time_wait_beyond_tcp_max_tw_buckets_overflows(namespace: Namespace) -> None:
    namespace.sysctl("net.ipv4.tcp_max_tw_buckets", 15)
    counters = namespace.call(
        counters_after, lambda: connect_and_close(50), lambda counters: time_wait_count(counters) >= 50
    )
    assert counters.time_wait_overflows == 35
    assert counters.time_wait_started == 15
    assert counters.time_wait == 15


def test_a_full_accept_queue_overflows(namespace: Namespace) -> None:
    counters = namespace.call(
        counters_after, overflow_the_backlog, lambda counters: bool(counters.listen_overflows)
    )
    assert counters.listen_overflows is not None
    assert counters.listen_overflows >= 3
    assert counters.listen_drops is not None
    assert counters.listen_drops >= counters.listen_overflows


def test_a_full_syn_queue_drops_syns_without_syn_cookies(namespace: Namespace) -> None:
    namespace.sysctl("net.ipv4.tcp_syncookies", 0)
    counters = namespace.call(
        counters_after, fill_the_syn_queue, lambda counters: bool(counters.syn_queue_drops)
    )
    assert counters.syn_queue_drops is not None
    assert counters.syn_queue_drops >= 4
    assert counters.listen_overflows == 0


def test_no_syns_are_dropped_with_syn_cookies(namespace: Namespace) -> None:
    namespace.sysctl("net.ipv4.tcp_syncookies", 1)
    counters = namespace.call(counters_after, fill_the_syn_queue, lambda _: True)
    assert counters.syn_queue_drops == 0


def test_close_with_unread_data_is_an_abort(namespace: Namespace) -> None:
    counters = namespace.call(
        counters_after, close_with_data_unread, lambda counters: bool(counters.aborts["close"])
    )
    assert counters.aborts["close"] == 1
    assert counters.aborts["timeout"] == 0


def counters_by_thread(namespace: str) -> tuple[KernelCounters, KernelCounters]:
    """Close connections in the namespace. Return the counters that a thread in it reads, and the main one."""

    def inside() -> KernelCounters:
        enter(namespace)
        return counters_after(lambda: connect_and_close(7), lambda counters: time_wait_count(counters) >= 7)

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(inside).result(), read_counters(PROC)


def test_counters_are_those_of_the_namespace_of_the_thread(namespace: Namespace) -> None:
    with Namespace() as other:
        of_thread, of_main = other.call(counters_by_thread, namespace.path)
    assert (of_thread.time_wait_started, of_main.time_wait_started) == (7, 0)


def fd_usage_as_unprivileged_user(pid: int) -> FdUsage:
    os.setgroups([])
    os.setresuid(UNPRIVILEGED_UID, UNPRIVILEGED_UID, UNPRIVILEGED_UID)
    return read_fd_usage(PROC, pid)


def test_fd_usage_of_other_users_is_known_without_privileges(namespace: Namespace) -> None:
    if Path("/proc/self/fd").stat().st_size == 0:
        pytest.skip("needs Linux 6.2, which reports the number of descriptors")
    process = namespace.popen(["sh", "-c", "echo started; read line"])
    assert process.stdout is not None
    process.stdout.readline()
    assert namespace.call(fd_usage_as_unprivileged_user, process.pid) == read_fd_usage(PROC, process.pid)
