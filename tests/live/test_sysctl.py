"""The limits that are read are those that the kernel applies, in a separate network namespace."""

from __future__ import annotations

import errno
import os
import socket
from contextlib import ExitStack
from pathlib import Path

import pytest

from exporter.model.host import EphemeralRange
from exporter.procfs.sysctl import read_sysctls

from .namespace import Namespace

pytestmark = pytest.mark.live

PROC = Path("/proc")


def ports_of_connect() -> set[int]:
    """Connect to one address and port until no local port is left. Return the local ports."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 30000), backlog=100))
        ports: set[int] = set()
        while True:
            client = stack.enter_context(socket.socket())
            try:
                client.connect(listener.getsockname())
            except OSError as failure:
                assert failure.errno == errno.EADDRNOTAVAIL  # noqa: PT017  # it ends the loop, too
                return ports
            ports.add(client.getsockname()[1])


def write_reserved_ports(text: str) -> None:
    """Write a list that is too long for one write(): the later ones are added to the first."""
    parts = text.split(",")
    file = os.open("/proc/sys/net/ipv4/ip_local_reserved_ports", os.O_WRONLY)
    try:
        for start in range(0, len(parts), 500):
            os.write(file, ",".join(parts[start : start + 500]).encode())
    finally:
        os.close(file)


def test_connect_uses_exactly_the_ports_of_the_range(namespace: Namespace) -> None:
    namespace.sysctl("net.ipv4.ip_local_port_range", "40000 40009")
    namespace.sysctl("net.ipv4.ip_local_reserved_ports", "8080,40003,40005-40006,40009-50000")
    ephemeral = namespace.call(read_sysctls, PROC).ephemeral
    assert ephemeral == EphemeralRange(40000, 40009, frozenset([40003, 40005, 40006, 40009]))
    ports = namespace.call(ports_of_connect)
    assert ports == {port for port in range(65536) if ephemeral.contains(port)}
    assert len(ports) == ephemeral.size


def test_long_list_of_reserved_ports_is_read_to_its_end(namespace: Namespace) -> None:
    reserved = range(10001, 60000, 2)
    namespace.sysctl("net.ipv4.ip_local_port_range", "10000 60000")
    namespace.call(write_reserved_ports, ",".join(map(str, reserved)))
    ephemeral = namespace.call(read_sysctls, PROC).ephemeral
    assert ephemeral == EphemeralRange(10000, 60000, frozenset(reserved))


def test_sysctls_are_those_of_the_namespace(namespace: Namespace) -> None:
    namespace.sysctl("net.ipv4.tcp_max_tw_buckets", 15)
    namespace.sysctl("net.ipv4.tcp_tw_reuse", 0)
    limits = namespace.call(read_sysctls, PROC)
    assert (limits.max_time_wait_sockets, limits.time_wait_reuse) == (15, 0)
    assert read_sysctls(PROC).max_time_wait_sockets != 15


def test_sysctls_of_the_initial_namespace_are_unknown_in_others(namespace: Namespace) -> None:
    limits = namespace.call(read_sysctls, PROC)
    assert (limits.max_orphans, limits.max_memory_bytes) == (None, None)
    assert not limits.errors
