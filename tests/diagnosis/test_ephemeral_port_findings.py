"""Findings on ephemeral ports and TIME_WAIT."""

from __future__ import annotations

import pytest

from exporter.diagnosis.finding import DiagnosisInput, FindingKind, Severity
from exporter.diagnosis.report import find_problems
from exporter.model.close_wait import Cause
from exporter.model.groups import Attribution, Direction, SocketGroup
from exporter.model.process import ProcessId, Unowned
from exporter.model.sockets import CLOSE, ESTABLISHED, TIME_WAIT

from ..snapshots import APP, HERE, LOOPBACK, RANGE, close_wait, make_snapshot, outbound
from .helpers import CRITICAL, NOTE, WARNING, kinds, only_finding, quiet_limits


@pytest.mark.parametrize(
    ("used", "severity"), [(14_116, WARNING), (22_584, WARNING), (22_586, CRITICAL), (28_232, CRITICAL)]
)
def test_ports_to_one_destination_near_limit(used: int, severity: Severity) -> None:
    finding = only_finding(make_snapshot(outbound(ESTABLISHED, used)))
    assert (finding.kind, finding.severity) == (FindingKind.EPHEMERAL_PORTS, severity)
    assert (finding.remote_address, finding.port, finding.count) == ("10.0.0.5", 5432, used)
    assert "10.0.0.5:5432" in finding.title
    assert "app (pid 20)" in finding.detail


def test_ports_are_counted_for_each_source_address() -> None:
    snapshot = make_snapshot(
        *(outbound(ESTABLISHED, 10_000, source=bytes((10, 0, 0, last))) for last in range(4))
    )
    assert find_problems(DiagnosisInput(snapshot)) == []


def test_ports_unavailable_to_connect_lower_the_limit() -> None:
    bound = [SocketGroup(CLOSE, APP, Direction.NONE, port) for port in range(40_000, 50_000)]
    finding = only_finding(make_snapshot(outbound(ESTABLISHED, 10_000), *bound))
    assert finding.usage
    assert finding.usage.limit == RANGE.size - 10_000


def test_addresses_appear_only_if_permitted() -> None:
    for snapshot in (make_snapshot(outbound(ESTABLISHED, 20_000)), make_snapshot(outbound(TIME_WAIT, 6_000))):
        assert "10.0.0.5" in repr(find_problems(DiagnosisInput(snapshot)))
        assert "10.0.0.5" not in repr(find_problems(DiagnosisInput(snapshot, with_addresses=False)))


@pytest.mark.parametrize(
    ("reuse", "address", "severity"),
    [(0, LOOPBACK, CRITICAL), (2, LOOPBACK, NOTE), (2, bytes((10, 0, 0, 5)), CRITICAL), (1, HERE, NOTE)],
)
def test_reusable_time_wait_does_not_count_as_used(reuse: int, address: bytes, severity: Severity) -> None:
    snapshot = make_snapshot(
        outbound(TIME_WAIT, 25_000, address=address), limits=quiet_limits(time_wait_reuse=reuse)
    )
    assert kinds(snapshot) == [(FindingKind.EPHEMERAL_PORTS, severity)]


def test_pooling_precedes_sysctls_and_ineffective_ones_are_last() -> None:
    steps = only_finding(make_snapshot(outbound(TIME_WAIT, 25_000))).steps
    assert "pool" in steps[0]
    assert "net." not in steps[0]
    assert "`net.ipv4.tcp_tw_reuse=1`" in steps[1]
    assert "`net.ipv4.ip_local_port_range` (now 32768 to 60999)" in steps[2]
    assert "tcp_fin_timeout` as it is: it does not shorten TIME_WAIT" in steps[-1]
    assert "`tcp_tw_recycle` was removed" in steps[-1]


def test_steps_for_open_connections_differ_from_time_wait() -> None:
    steps = only_finding(make_snapshot(outbound(ESTABLISHED, 25_000))).steps
    assert "close" in steps[0]
    assert not any("tw_reuse" in step or "fin_timeout" in step for step in steps)


def test_steps_on_windows_are_for_windows() -> None:
    steps = " ".join(only_finding(make_snapshot(outbound(TIME_WAIT, 25_000)), windows=True).steps)
    for word in ("netsh int ipv4 set dynamicport tcp", "TcpTimedWaitDelay", "HKLM"):
        assert word in steps
    assert "net.ipv4" not in steps
    not_read = " ".join(only_finding(make_snapshot(close_wait(20, cause=Cause.NOT_READ)), windows=True).steps)
    assert "Task Manager" in not_read
    assert "gdb" not in not_read


@pytest.mark.parametrize(("ephemeral", "severity"), [(RANGE, NOTE), (None, WARNING)])
def test_many_time_wait_below_or_without_limit(ephemeral: object, severity: Severity) -> None:
    snapshot = make_snapshot(outbound(TIME_WAIT, 5_000), limits=quiet_limits(ephemeral=ephemeral))
    assert kinds(snapshot) == [(FindingKind.TIME_WAIT, severity)]


def test_bound_ports_of_one_address_near_limit() -> None:
    snapshot = make_snapshot(
        *(outbound(ESTABLISHED, 6_000, port=port) for port in range(1, 5)), max_bound_ports=24_000
    )
    assert kinds(snapshot) == [(FindingKind.BOUND_PORTS, WARNING)]


def test_no_bound_ports_finding_if_one_destination_has_most() -> None:
    snapshot = make_snapshot(outbound(ESTABLISHED, 27_000), max_bound_ports=27_500)
    assert kinds(snapshot) == [(FindingKind.EPHEMERAL_PORTS, CRITICAL)]


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (TIME_WAIT, "The owner is unknown: the kernel keeps no owner for sockets in TIME_WAIT."),
        (ESTABLISHED, "The owner is unknown."),
    ],
)
def test_unknown_owner_is_explained(state: int, words: str) -> None:
    assert words in only_finding(make_snapshot(outbound(state, 25_000, owner=Unowned.RELEASED))).detail


def test_users_with_most_sockets_are_named() -> None:
    owners = [ProcessId(pid, 1.0) for pid in range(1, 7)]
    snapshot = make_snapshot(
        *(outbound(ESTABLISHED, 3_000 + owner.pid, owner=owner) for owner in owners),
        outbound(TIME_WAIT, 9, owner=Unowned.RELEASED),
        names={owner: f"app{owner.pid}" for owner in owners},
    )
    assert (
        "Used by app6 (pid 6), app5 (pid 5), app4 (pid 4), 3 more and unknown processes."
        in only_finding(snapshot).detail
    )


@pytest.mark.parametrize(
    ("count", "title"),
    [
        (25_000, "app (pid 20) probably uses 88 % of the ephemeral ports"),
        (5_000, "app (pid 20) probably has 5,000 connections to 10.0.0.5:5432 in TIME_WAIT"),
    ],
)
def test_inferred_owner_is_only_probable(count: int, title: str) -> None:
    group, _ = outbound(TIME_WAIT, count)
    inferred = group._replace(attribution=Attribution.INFERRED)
    finding = only_finding(make_snapshot((inferred, count)))
    assert finding.title.startswith(title)
    assert f", probably: the owner of {count:,} connections in TIME_WAIT is inferred" in finding.detail
