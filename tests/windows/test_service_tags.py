"""Sockets of services that share a process are those of their own service, where its tag tells."""

from __future__ import annotations

import ctypes
from array import array
from collections.abc import Mapping

import pytest

from exporter.model.process import ProcessId
from exporter.model.sockets import CLOSE_WAIT, STALE_OWNER_KEY
from exporter.owners.pid_resolver import PidOwnerResolver
from exporter.owners.process_cache import ProcessCache
from exporter.windows.service_tags import ServiceOwnerKeys, read_service_name_of_tag
from exporter.windows.services import ServiceTable

from ..netlink.messages import rows_of
from ..owners.test_pid_resolver import unused
from . import rows
from .fake_dlls import DWORD, POINTER, FakeDlls
from .hosts import APP, BFE, MPSSVC, SERVICES, SHARED, SINGLE, SPOOLER, STARTED, TAGS, Host, entry
from .rows import ESTABLISHED, LISTEN, Row


def test_socket_in_a_shared_process_is_that_of_its_service() -> None:
    assert Host().assign((SHARED, BFE), (SHARED, MPSSVC), (SHARED, BFE)) == [
        (SHARED, "BFE"),
        (SHARED, "mpssvc"),
        (SHARED, "BFE"),
    ]


@pytest.mark.parametrize(
    ("pid", "tag"), [(SINGLE, 9), (SPOOLER, 9), (APP, 9), (SHARED, 0), (SHARED, 99), (4242, 9), (0, 0)]
)
def test_any_other_socket_is_that_of_its_process(pid: int, tag: int) -> None:
    """Sockets of one service, not of svchost, without or with an unknown tag, without a process."""
    assert Host().assign((pid, tag), (SHARED, BFE)) == [(pid, ""), (SHARED, "BFE")]


def test_owner_keys_stay_the_same_and_differ_from_pids() -> None:
    host = Host()
    pids, tags = array("I", [SHARED, SHARED]), array("I", [BFE, MPSSVC])
    first = host.owner_keys.assign(pids, tags, host.processes)
    assert first == host.owner_keys.assign(pids, tags, host.processes)
    assert len(set(first)) == 2
    assert all(key % 4 for key in first)


def test_name_of_a_tag_is_read_once_for_a_process() -> None:
    host = Host()
    for _ in range(3):
        host.assign(*[(SHARED, BFE)] * 5)
    assert host.asked == [(SHARED, BFE)]
    host.processes[SHARED] = entry("svchost.exe", STARTED + 1)
    host.tags[SHARED, BFE] = "mpssvc"
    assert host.assign((SHARED, BFE)) == [(SHARED, "mpssvc")]


def test_tag_that_could_not_be_read_is_read_again() -> None:
    host = Host()
    del host.tags[SHARED, BFE]
    assert host.assign((SHARED, BFE)) == [(SHARED, "")]
    host.tags[SHARED, BFE] = "BFE"
    assert host.assign((SHARED, BFE)) == [(SHARED, "BFE")]


def test_sockets_are_those_of_their_processes_where_services_are_unreadable() -> None:
    def fail() -> Mapping[int, list[str]]:
        raise PermissionError

    host = Host()
    owner_keys = ServiceOwnerKeys(ServiceTable(fail), host.read_service_name)
    pids = array("I", [SHARED])
    assert list(owner_keys.assign(pids, array("I", [BFE]), host.processes)) == [SHARED]


def test_service_that_starts_in_a_process_makes_it_shared() -> None:
    host = Host()
    assert host.assign((SINGLE, 9)) == [(SINGLE, "")]
    host.services = {**SERVICES, SINGLE: ["Dnscache", "NlaSvc"]}
    host.now = 10.0
    assert host.assign((SINGLE, 9)) == [(SINGLE, "Dnscache")]


def test_connections_and_listeners_of_both_families_have_their_service() -> None:
    host = Host()
    source = host.source(
        Row(LISTEN, "0.0.0.0", 135, pid=SHARED, tag=BFE),
        Row(rows.CLOSE_WAIT, "10.0.0.1", 5000, "10.0.0.2", 80, SHARED, tag=MPSSVC),
        ipv6=(Row(ESTABLISHED, "::1", 5001, "::1", 80, SHARED, tag=BFE),),
    )
    owners = [host.owner_keys.split(sock.owner_key) for sock in rows_of(source.full_sockets())]
    assert owners == [(SHARED, "mpssvc"), (SHARED, "BFE")]
    assert [host.owner_keys.split(listener.owner_key) for listener in source.listeners()] == [(SHARED, "BFE")]
    (closing,) = source.close_wait_sockets()
    assert closing.socket.state == CLOSE_WAIT
    assert host.owner_keys.split(closing.socket.owner_key) == (SHARED, "mpssvc")


def test_process_younger_than_its_socket_has_no_service_either() -> None:
    host = Host()
    source = host.source(
        Row(ESTABLISHED, "10.0.0.1", 5000, "10.0.0.2", 80, SHARED, STARTED - 20_000_000, tag=BFE)
    )
    (sock,) = rows_of(source.full_sockets())
    assert sock.owner_key == STALE_OWNER_KEY


def test_owner_is_named_by_its_service_and_vanishes_with_its_process() -> None:
    host = Host()
    resolver = PidOwnerResolver(ProcessCache(host.reader))
    keys = host.owner_keys.assign(array("I", [SHARED, SHARED]), array("I", [BFE, MPSSVC]), host.processes)
    resolver.resolve(set(keys), unused)
    owners = [resolver.owner_of(key) for key in keys]
    assert owners == [ProcessId(SHARED, 1.0, "BFE"), ProcessId(SHARED, 1.0, "mpssvc")]
    described = resolver.process(ProcessId(SHARED, 1.0, "BFE"))
    assert (described.pid, described.comm, described.services) == (SHARED, "svchost:BFE", ("BFE",))
    assert resolver.process(ProcessId(SHARED, 1.0)).comm == "svchost:BFE+mpssvc"
    assert resolver.refresh() == set()
    del host.processes[SHARED]
    assert resolver.refresh() >= set(owners)
    resolver.retain(owners)
    assert resolver.process(ProcessId(SHARED, 1.0, "BFE")).comm == "svchost:BFE"


def define_query(dlls: FakeDlls, names: Mapping[tuple[int, int], str]) -> dict[int, object]:
    """Define I_QueryTagInformation and LocalFree. Return the memory that is allocated."""
    memory: dict[int, object] = {}

    @dlls.define("advapi32", "I_QueryTagInformation", DWORD, POINTER, DWORD, POINTER)
    def _(machine: int | None, level: int, query: int) -> int:
        assert (machine, level) == (None, 1)
        pid, tag = (ctypes.c_uint32.from_address(query + offset).value for offset in (0, 4))
        if (pid, tag) not in names:
            return 87  # ERROR_INVALID_PARAMETER
        text = ctypes.create_unicode_buffer(names[pid, tag])
        memory[ctypes.addressof(text)] = text
        ctypes.c_uint32.from_address(query + 8).value = 1
        ctypes.c_uint64.from_address(query + 16).value = ctypes.addressof(text)
        return 0

    @dlls.define("kernel32", "LocalFree", POINTER, POINTER)
    def _(address: int) -> None:
        del memory[address]

    return memory


def test_name_of_a_tag_is_read_and_its_memory_freed(dlls: FakeDlls) -> None:
    memory = define_query(dlls, TAGS)
    assert read_service_name_of_tag(SHARED, BFE) == "BFE"
    assert read_service_name_of_tag(SHARED, 99) == ""
    assert memory == {}


def test_no_name_is_read_where_the_function_is_absent(dlls: FakeDlls) -> None:
    dlls.define("advapi32", "OpenSCManagerW", DWORD)(lambda: 0)
    assert read_service_name_of_tag(SHARED, BFE) == ""
