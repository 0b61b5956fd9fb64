"""Ephemeral ports and TIME_WAIT: how near to the limit, by whom, and what to do."""

from __future__ import annotations

import pytest

from exporter.exposition.findings import find
from exporter.exposition.findings.finding import Kind, Scope, Severity
from exporter.model.close_wait import Cause
from exporter.model.groups import Direction, SocketGroup
from exporter.model.process import ProcessId, Unowned
from exporter.model.sockets import CLOSE, ESTABLISHED, TIME_WAIT

from .judging import CRITICAL, NOTE, WARNING, found, limits, only
from .looks import APP, HERE, LOOPBACK, RANGE, calls, look, stuck


@pytest.mark.parametrize(
    ("used", "severity"), [(14_116, WARNING), (22_584, WARNING), (22_586, CRITICAL), (28_232, CRITICAL)]
)
def test_ports_towards_one_destination(used: int, severity: Severity) -> None:
    finding = only(look(calls(ESTABLISHED, used)))
    assert (finding.kind, finding.severity) == (Kind.EPHEMERAL_PORTS, severity)
    assert (finding.remote_address, finding.port, finding.count) == ("10.0.0.5", 5432, used)
    assert "10.0.0.5:5432" in finding.title
    assert "app (pid 20)" in finding.detail


def test_ports_are_counted_for_each_source_address() -> None:
    seen = look(*(calls(ESTABLISHED, 10_000, source=bytes((10, 0, 0, last))) for last in range(4)))
    assert find(Scope(seen)) == []


def test_ports_that_no_connect_gets_make_the_limit_lower() -> None:
    bound = [SocketGroup(CLOSE, APP, Direction.NONE, port) for port in range(40_000, 50_000)]
    finding = only(look(calls(ESTABLISHED, 10_000), *bound))
    assert finding.near
    assert finding.near.limit == RANGE.size - 10_000


def test_addresses_are_named_only_where_they_may_be() -> None:
    for seen in (look(calls(ESTABLISHED, 20_000)), look(calls(TIME_WAIT, 6_000))):
        assert "10.0.0.5" in repr(find(Scope(seen)))
        assert "10.0.0.5" not in repr(find(Scope(seen, with_addresses=False)))


@pytest.mark.parametrize(
    ("reuse", "address", "severity"),
    [(0, LOOPBACK, CRITICAL), (2, LOOPBACK, NOTE), (2, bytes((10, 0, 0, 5)), CRITICAL), (1, HERE, NOTE)],
)
def test_time_wait_that_may_be_used_again_takes_no_port(
    reuse: int, address: bytes, severity: Severity
) -> None:
    seen = look(calls(TIME_WAIT, 25_000, address=address), limits=limits(time_wait_reuse=reuse))
    assert found(seen) == [(Kind.EPHEMERAL_PORTS, severity)]


def test_pooling_is_advised_before_sysctls_and_myths_are_named() -> None:
    advice = only(look(calls(TIME_WAIT, 25_000))).advice
    assert "pool" in advice[0]
    assert "net." not in advice[0]
    assert "`net.ipv4.tcp_tw_reuse=1`" in advice[1]
    assert "`net.ipv4.ip_local_port_range` (now 32768 to 60999)" in advice[2]
    assert "tcp_fin_timeout` does not" in advice[-1]
    assert "`tcp_tw_recycle` is gone" in advice[-1]


def test_open_connections_are_told_apart_from_time_wait() -> None:
    advice = only(look(calls(ESTABLISHED, 25_000))).advice
    assert "close" in advice[0]
    assert not any("tw_reuse" in step or "TIME_WAIT, and" in step for step in advice)


def test_on_windows_the_advice_is_for_windows() -> None:
    advice = " ".join(only(look(calls(TIME_WAIT, 25_000)), windows=True).advice)
    for word in ("netsh int ipv4 set dynamicport tcp", "MaxUserPort", "TcpTimedWaitDelay", "HKLM"):
        assert word in advice
    assert "net.ipv4" not in advice
    blocked = " ".join(only(look(stuck(20, cause_is=Cause.NOT_READ)), windows=True).advice)
    assert "Task Manager" in blocked
    assert "gdb" not in blocked


@pytest.mark.parametrize(("ephemeral", "severity"), [(RANGE, NOTE), (None, WARNING)])
def test_much_time_wait_far_from_the_limit_or_without_one(ephemeral: object, severity: Severity) -> None:
    seen = look(calls(TIME_WAIT, 5_000), limits=limits(ephemeral=ephemeral))
    assert found(seen) == [(Kind.TIME_WAIT, severity)]


def test_ports_bound_on_one_address() -> None:
    seen = look(*(calls(ESTABLISHED, 6_000, port=port) for port in range(1, 5)), ports_on_one_address=24_000)
    assert found(seen) == [(Kind.BOUND_PORTS, WARNING)]


def test_ports_bound_are_not_told_of_where_one_destination_has_most() -> None:
    seen = look(calls(ESTABLISHED, 27_000), ports_on_one_address=27_500)
    assert found(seen) == [(Kind.EPHEMERAL_PORTS, CRITICAL)]


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (TIME_WAIT, "the kernel does not remember whose a TIME_WAIT was."),
        (ESTABLISHED, "By whom is not known."),
    ],
)
def test_whom_nobody_knows_is_not_named(state: int, words: str) -> None:
    assert words in only(look(calls(state, 25_000, owner=Unowned.RELEASED))).detail


def test_of_many_processes_the_biggest_are_named() -> None:
    owners = [ProcessId(pid, 1.0) for pid in range(1, 7)]
    seen = look(
        *(calls(ESTABLISHED, 3_000 + owner.pid, owner=owner) for owner in owners),
        calls(TIME_WAIT, 9, owner=Unowned.RELEASED),
        names={owner: f"app{owner.pid}" for owner in owners},
    )
    assert (
        "Used by app6 (pid 6), app5 (pid 5), app4 (pid 4), 3 more and others that are not known."
        in only(seen).detail
    )
