"""One collection on a simulated Windows: what Wine cannot show, from the TCP tables to the snapshot."""

from __future__ import annotations

from collections import Counter

from exporter.collection.interfaces import HostReaders
from exporter.collection.tracker import SocketTracker
from exporter.model.collectors import CollectorName
from exporter.model.host import FdUsage, KernelCounters, SysctlLimits
from exporter.model.snapshot import Snapshot
from exporter.model.sockets import STATE_NAMES
from exporter.naming.rules import Namer
from exporter.owners.pid_resolver import PidOwnerResolver
from exporter.owners.process_cache import ProcessCache

from .hosts import APP, BFE, MPSSVC, SHARED, SPOOLER, STARTED, Host
from .rows import CLOSE_WAIT, ESTABLISHED, LISTEN, TIME_WAIT, Row

SERVER, CLIENT = "10.0.0.1", "10.0.0.9"


def no_descriptors(_: int) -> FdUsage:
    raise FileNotFoundError


def tracker(host: Host, *connections: Row) -> SocketTracker:
    readers = HostReaders(
        SysctlLimits,
        KernelCounters,
        no_descriptors,
        read_handle_count=lambda pid: host.table.entry(pid).handles,
    )
    resolver = PidOwnerResolver(ProcessCache(host.reader))
    return SocketTracker(host.source(*connections), resolver, readers, Namer(()), frozenset(CollectorName))


def counts(snapshot: Snapshot) -> Counter[tuple[str, str, str, int]]:
    """Return state, process, direction and port of the sockets."""
    assert snapshot.groups is not None
    return Counter(
        {
            (
                STATE_NAMES[group.state],
                snapshot.process_name(group.owner),
                group.direction.value,
                group.port,
            ): number
            for group, number in snapshot.groups.items()
        }
    )


def test_accepted_connections_have_the_pid_of_their_process() -> None:
    accepted = [Row(CLOSE_WAIT, SERVER, 9100, CLIENT, 50_000 + n, APP, STARTED + 1) for n in range(3)]
    snapshot = tracker(Host(), Row(LISTEN, "0.0.0.0", 9100, pid=APP, created=STARTED), *accepted).snapshot()
    assert counts(snapshot) == {
        ("listen", "app", "none", 9100): 1,
        ("close_wait", "app", "inbound", 9100): 3,
    }


def test_reused_connection_is_another_socket_with_its_own_owner() -> None:
    """Same addresses and ports, another creation time: the old owner is not remembered."""
    connection = Row(ESTABLISHED, SERVER, 50_000, CLIENT, 443, APP, STARTED + 1)
    rows = [connection]
    host = Host()
    tested = tracker(host, *rows)
    assert counts(tested.snapshot()) == {("established", "app", "outbound", 443): 1}
    host.connections = (connection._replace(pid=SPOOLER, created=STARTED + 2),)
    assert counts(tested.snapshot()) == {("established", "spoolsv", "outbound", 443): 1}


def test_time_wait_keeps_the_owner_that_it_had() -> None:
    connection = Row(ESTABLISHED, SERVER, 50_000, CLIENT, 443, APP, STARTED + 1)
    host = Host()
    tested = tracker(host, connection)
    tested.snapshot()
    host.connections = (connection._replace(state=TIME_WAIT, pid=0),)
    assert counts(tested.snapshot()) == {("time_wait", "app", "outbound", 443): 1}


def test_services_of_one_process_have_their_own_sockets_and_its_handles_once() -> None:
    host = Host()
    snapshot = tracker(
        host,
        Row(ESTABLISHED, SERVER, 50_000, CLIENT, 443, SHARED, STARTED + 1, tag=BFE),
        Row(ESTABLISHED, SERVER, 50_001, CLIENT, 443, SHARED, STARTED + 1, tag=BFE),
        Row(CLOSE_WAIT, SERVER, 50_002, CLIENT, 80, SHARED, STARTED + 1, tag=MPSSVC),
        Row(CLOSE_WAIT, SERVER, 50_003, CLIENT, 80, SHARED, STARTED + 1),
    ).snapshot()
    assert counts(snapshot) == {
        ("established", "svchost:BFE", "outbound", 443): 2,
        ("close_wait", "svchost:mpssvc", "outbound", 80): 1,
        ("close_wait", "svchost:BFE+mpssvc", "outbound", 80): 1,
    }
    assert snapshot.handle_counts is not None
    handles = {snapshot.process_name(owner): count for owner, count in snapshot.handle_counts.items()}
    assert handles == {"svchost:BFE+mpssvc": 500}


def test_time_wait_of_a_service_is_named_after_its_process_has_ended() -> None:
    connection = Row(ESTABLISHED, SERVER, 50_000, CLIENT, 443, SHARED, STARTED + 1, tag=BFE)
    host = Host()
    tested = tracker(host, connection)
    tested.snapshot()
    del host.processes[SHARED]
    host.connections = (connection._replace(state=TIME_WAIT, pid=0, tag=0),)
    for _ in range(2):
        snapshot = tested.snapshot()
        assert snapshot.failed == frozenset()
        assert counts(snapshot) == {("time_wait", "svchost:BFE", "outbound", 443): 1}
    assert snapshot.handle_counts == {}
