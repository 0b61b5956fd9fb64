"""Owners of real sockets in TIME_WAIT: the kernel keeps none."""

from __future__ import annotations

from collections import Counter
from typing import Final

import pytest

from exporter.model.groups import Attribution
from exporter.model.snapshot import Snapshot
from exporter.model.sockets import TIME_WAIT

from ..tools import require
from .in_process import close_first, connect, fork_process, kill, make_tracker, serve, set_comm
from .namespace import Namespace

pytestmark = [pytest.mark.live, require("ip", "nft", "ss")]

CLIENT: Final = "client"
UNKNOWN: Final = "unknown"

Owners = Counter[tuple[str, int, str]]
"""(process, service port, attribution) -> sockets in TIME_WAIT."""


def owners(snapshot: Snapshot) -> Owners:
    counts: Owners = Counter()
    for group, count in (snapshot.groups or {}).items():
        if group.state == TIME_WAIT and group.attribution:
            counts[snapshot.names.get(group.owner, UNKNOWN), group.port, group.attribution.value] += count
    return counts


def server_closes() -> Owners:
    set_comm("printd")
    server = serve(8001)
    for _ in range(4):
        client, accepted = connect(server)
        close_first(accepted, client)
    return owners(make_tracker().snapshot())


def test_server_time_wait_belongs_to_the_listener(namespace: Namespace) -> None:
    assert {("printd", 8001, Attribution.LISTENER.value): 4} == namespace.call(server_closes)


def client_observed_before_close() -> tuple[Owners, Owners]:
    set_comm(CLIENT)
    server, tracker = serve(8002), make_tracker()
    pairs = [connect(server) for _ in range(3)]
    before = owners(tracker.snapshot())
    for client, accepted in pairs:
        close_first(client, accepted)
    return before, owners(tracker.snapshot())


def test_client_time_wait_keeps_the_observed_owner(namespace: Namespace) -> None:
    before, after = namespace.call(client_observed_before_close)
    assert {} == before
    assert {(CLIENT, 8002, Attribution.OBSERVED.value): 3} == after


def client_with_an_open_connection() -> Owners:
    set_comm(CLIENT)
    server = serve(8003)
    tracker, open_pairs = make_tracker(), [connect(server)]
    tracker.snapshot()
    for _ in range(5):
        close_first(*connect(server))
    open_pairs.append(connect(server))
    counts = owners(tracker.snapshot())
    assert open_pairs
    return counts


def test_owner_is_inferred_from_the_only_process_that_opens_connections(namespace: Namespace) -> None:
    assert {(CLIENT, 8003, Attribution.INFERRED.value): 5} == namespace.call(client_with_an_open_connection)


def idle_pool_and_unseen_loop() -> list[Owners]:
    """The processes of the loop live between two collections only."""
    server, tracker = serve(8008), make_tracker()
    pool = fork_process("pool", lambda: connect(server))
    counts = [owners(tracker.snapshot())]

    def loop() -> bool:
        for _ in range(300):
            close_first(*connect(server))
        return True

    kill(fork_process("curl", loop))
    counts += [owners(tracker.snapshot()), owners(make_tracker().snapshot())]
    kill(pool)
    return counts


def test_idle_pool_does_not_get_the_time_wait_of_an_unseen_loop(namespace: Namespace) -> None:
    before, after, first_look = namespace.call(idle_pool_and_unseen_loop)
    assert before == {}
    assert after == first_look == {(UNKNOWN, 8008, Attribution.NONE.value): 300}


def one_of_two_clients() -> Owners:
    set_comm(CLIENT)
    server = serve(8004)
    open_pair = connect(server)
    other = fork_process("other", lambda: connect(server))
    tracker = make_tracker()
    tracker.snapshot()
    for _ in range(5):
        close_first(*connect(server))
    later_pair = connect(server)
    counts = owners(tracker.snapshot())
    kill(other)
    assert later_pair
    assert open_pair
    return counts


def test_no_owner_is_inferred_with_two_connected_processes(namespace: Namespace) -> None:
    assert {(UNKNOWN, 8004, Attribution.NONE.value): 5} == namespace.call(one_of_two_clients)


def client_observed_after_close() -> list[Owners]:
    set_comm(CLIENT)
    server, tracker = serve(8005), make_tracker()
    for _ in range(6):
        close_first(*connect(server))
    counts = [owners(tracker.snapshot())]
    open_pairs = []
    for _ in range(3):
        open_pairs.append(connect(server))
        counts.append(owners(tracker.snapshot()))
    return counts


def test_time_wait_is_not_that_of_a_process_that_connects_later(namespace: Namespace) -> None:
    assert namespace.call(client_observed_after_close) == [{(UNKNOWN, 8005, Attribution.NONE.value): 6}] * 4


def client_exited() -> Owners:
    server, tracker = serve(8006), make_tracker()
    first_client = fork_process(CLIENT, lambda: connect(server))
    tracker.snapshot()
    kill(first_client)
    set_comm("later client")
    for _ in range(2):
        close_first(*connect(server))
    return owners(tracker.snapshot())


def test_recently_connected_process_gets_no_later_time_wait(namespace: Namespace) -> None:
    counts = namespace.call(client_exited)
    assert not [method for _, _, method in counts if method == Attribution.INFERRED.value]
    assert counts[UNKNOWN, 8006, Attribution.NONE.value] >= 2


def exceed_tcp_max_tw_buckets(closes: int) -> tuple[int, int, int | None]:
    server, tracker = serve(8007), make_tracker()
    before = tracker.snapshot()
    for _ in range(closes):
        close_first(*connect(server))
    after = tracker.snapshot()
    assert before.counters
    assert after.counters
    assert after.limits
    overflows = (after.counters.time_wait_overflows or 0) - (before.counters.time_wait_overflows or 0)
    return overflows, sum(owners(after).values()), after.limits.max_time_wait_sockets


def test_sockets_beyond_tcp_max_tw_buckets_are_counted(namespace: Namespace) -> None:
    namespace.sysctl("net.ipv4.tcp_max_tw_buckets", 15)
    overflows, waiting, limit = namespace.call(exceed_tcp_max_tw_buckets, 50)
    assert limit == 15
    assert waiting <= 15
    assert overflows == 50 - waiting
