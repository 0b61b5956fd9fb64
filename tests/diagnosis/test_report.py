"""Findings of all kinds, in order of urgency."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.diagnosis.finding import WORST_FIRST, DiagnosisInput, FindingKind, Severity
from exporter.diagnosis.report import find_problems
from exporter.diagnosis.thresholds import Thresholds
from exporter.model.close_wait import Cause
from exporter.model.dead_fds import DeadFd
from exporter.model.groups import AddressPair, Direction, SocketGroup
from exporter.model.host import FdUsage, KernelCounters, SysctlLimits
from exporter.model.process import ProcessId, Unowned
from exporter.model.snapshot import Snapshot
from exporter.model.sockets import (
    CLOSE_WAIT,
    ESTABLISHED,
    FIN_WAIT2,
    STATE_NAMES,
    SYN_RECV,
    SYN_SENT,
    TIME_WAIT,
)

from ..snapshots import (
    APP,
    HERE,
    LOOPBACK,
    PRINTD,
    QUIET,
    RANGE,
    close_wait,
    dead,
    inbound,
    listener,
    make_snapshot,
    outbound,
    problem_snapshot,
)
from .helpers import CRITICAL, NOTE, WARNING, descriptors_in_use, kinds, only_finding


@pytest.mark.parametrize(
    "snapshot",
    [
        QUIET,
        make_snapshot(inbound(ESTABLISHED, 100_000), outbound(ESTABLISHED, 1_000)),
        make_snapshot(close_wait(99, age=59.9)),
        make_snapshot(close_wait(1, age=0.0)),
        make_snapshot(inbound(TIME_WAIT, 4_000), outbound(TIME_WAIT, 4_000)),
        make_snapshot(
            outbound(SYN_SENT, 99), outbound(FIN_WAIT2, 999), inbound(SYN_RECV, 99), inbound(FIN_WAIT2, 999)
        ),
        make_snapshot(listeners=[listener(0, 0), listener(79, 100), listener(None, None)]),
        make_snapshot(fd_usage=descriptors_in_use(used=799)),
        make_snapshot(fd_usage={PRINTD: FdUsage(1_000_000, None), APP: FdUsage(0, 0)}),
        make_snapshot(
            groups=None, listeners=None, close_wait=None, queue_bytes=None, limits=None, counters=None
        ),
        make_snapshot(limits=SysctlLimits(), counters=KernelCounters()),
        make_snapshot(close_wait(50, age=0.5), dead_fds=dead(49)),
        make_snapshot(dead_fds=dead(99, was_connected=False, age=90_000)),
    ],
    ids=itertools.count(),
)
def test_working_hosts_have_no_findings(snapshot: Snapshot) -> None:
    assert find_problems(DiagnosisInput(snapshot)) == []


@pytest.mark.parametrize(
    ("counters", "expected"),
    [
        ({"time_wait": 104_857}, []),
        ({"time_wait": 104_858}, [(FindingKind.TIME_WAIT_BUCKETS, WARNING)]),
        ({"time_wait": 131_072}, [(FindingKind.TIME_WAIT_BUCKETS, WARNING)]),
        ({"orphans": 65_536}, [(FindingKind.ORPHANS, WARNING)]),
        ({"orphans": 110_000}, [(FindingKind.ORPHANS, CRITICAL)]),
        ({"memory_bytes": 299_999_999}, []),
        ({"memory_bytes": 300_000_000}, [(FindingKind.MEMORY, WARNING)]),
        ({"memory_bytes": 480_000_000}, [(FindingKind.MEMORY, CRITICAL)]),
        ({"listen_overflows": 1}, [(FindingKind.LISTEN_OVERFLOWS, NOTE)]),
        ({"time_wait_overflows": 7}, [(FindingKind.TIME_WAIT_OVERFLOWS, NOTE)]),
    ],
)
def test_host_limits_and_counters(
    counters: dict[str, int], expected: list[tuple[FindingKind, Severity]]
) -> None:
    assert kinds(make_snapshot(counters=KernelCounters(**counters))) == expected


def test_counters_are_reported_as_since_boot() -> None:
    finding = only_finding(make_snapshot(counters=KernelCounters(listen_overflows=66)))
    assert finding.title == "The host has counted 66 accept queue overflows since boot"


def test_time_wait_is_counted_without_kernel_counter() -> None:
    assert (FindingKind.TIME_WAIT_BUCKETS, WARNING) in kinds(
        make_snapshot(inbound(TIME_WAIT, 110_000), counters=None)
    )


def test_memory_finding_names_largest_queues() -> None:
    queues = {
        SocketGroup(ESTABLISHED, PRINTD, Direction.INBOUND, 631): (200_000_000, 5),
        SocketGroup(CLOSE_WAIT, PRINTD, Direction.INBOUND, 631): (100_000_000, 0),
        SocketGroup(ESTABLISHED, APP, Direction.OUTBOUND, 80): (0, 50_000),
    }
    finding = only_finding(
        make_snapshot(queue_bytes=queues, counters=KernelCounters(memory_bytes=500_000_000))
    )
    assert "printd (286 MiB) and app (48 KiB)" in finding.detail
    assert [process.name for process in finding.processes] == ["printd", "app"]


def test_unanswered_syns() -> None:
    finding = only_finding(
        make_snapshot(
            outbound(SYN_SENT, 60), outbound(SYN_SENT, 40, address=HERE), outbound(SYN_SENT, 99, port=80)
        )
    )
    assert (finding.kind, finding.severity, finding.port, finding.count) == (
        FindingKind.SYN_SENT,
        WARNING,
        5432,
        100,
    )
    assert "2 addresses" in finding.detail
    assert "firewall" in " ".join(finding.steps)


@pytest.mark.parametrize(
    ("backlog", "expected"),
    [(128, [(FindingKind.SYN_RECV, WARNING)]), (4096, []), (None, [(FindingKind.SYN_RECV, WARNING)])],
)
def test_half_open_connections_depend_on_backlog(
    backlog: int | None, expected: list[tuple[FindingKind, Severity]]
) -> None:
    queue = [listener(None if backlog is None else 0, backlog)]
    assert kinds(make_snapshot(inbound(SYN_RECV, 100), listeners=queue)) == expected


@pytest.mark.parametrize("group", [inbound(FIN_WAIT2, 1_000), outbound(FIN_WAIT2, 1_000)])
def test_peers_that_do_not_close(group: tuple[SocketGroup, int]) -> None:
    finding = only_finding(make_snapshot(group))
    assert (finding.kind, finding.severity) == (FindingKind.FIN_WAIT2, WARNING)
    assert "On the peer they are in CLOSE_WAIT" in finding.detail


def test_unprintable_characters_are_escaped_in_sentences() -> None:
    name = "a\x1b[2J\u202eb\udcffc\n\nd"
    finding = only_finding(make_snapshot(close_wait(20), names={PRINTD: name}))
    for text in (finding.title, finding.detail, *finding.steps):
        assert text.isprintable()
    assert finding.processes[0].name == name


def test_worst_findings_come_first() -> None:
    assert kinds(problem_snapshot()) == [
        (FindingKind.ACCEPT_QUEUE, CRITICAL),
        (FindingKind.CLOSE_WAIT, CRITICAL),
        (FindingKind.EPHEMERAL_PORTS, WARNING),
        (FindingKind.CLOSE_WAIT, NOTE),
        (FindingKind.LISTEN_OVERFLOWS, NOTE),
    ]


owners = st.sampled_from([PRINTD, APP, ProcessId(30, 2.0), Unowned.RELEASED, Unowned.NOT_FOUND])
addresses = st.sampled_from([HERE, LOOPBACK, bytes(16), bytes(15) + b"\x01", b"", bytes(4)])
ports = st.integers(0, 65_535)
counts = st.one_of(st.integers(0, 200), st.integers(0, 200_000))
maybe = st.one_of(st.none(), counts)
remote_addresses = st.sampled_from([HERE, LOOPBACK, bytes(15) + b"\x01"])
groups = st.builds(
    SocketGroup,
    st.sampled_from(sorted(STATE_NAMES)),
    owners,
    st.sampled_from(Direction),
    ports,
    st.one_of(st.none(), st.builds(AddressPair, addresses, remote_addresses, st.booleans())),
)
clusters = st.builds(
    lambda count, age, cause, owner, port, direction, silent: list(
        close_wait(count, age=age, cause=cause, owner=owner, port=port, direction=direction, silent=silent)
    ),
    st.integers(0, 6),
    st.floats(0, 1e9),
    st.sampled_from(Cause),
    owners,
    ports,
    st.sampled_from(Direction),
    st.one_of(st.none(), st.floats(0, 1e9)),
)
snapshots = st.builds(
    lambda members, cluster, changes: make_snapshot(*members, cluster, **changes),
    st.lists(st.tuples(groups, counts), max_size=8),
    clusters,
    st.fixed_dictionaries(
        {},
        optional={
            "listeners": st.lists(st.builds(listener, maybe, maybe, owners, ports), max_size=4),
            "names": st.dictionaries(st.sampled_from([PRINTD, APP]), st.text(max_size=20)),
            "limits": st.builds(
                SysctlLimits,
                maybe,
                st.one_of(st.none(), st.floats(0, 300)),
                st.sampled_from([None, 0, 1, 2]),
                st.sampled_from([None, RANGE, replace(RANGE, high=32_768, reserved=frozenset({32_768}))]),
                maybe,
                maybe,
            ),
            "counters": st.builds(
                KernelCounters, time_wait=maybe, orphans=maybe, memory_bytes=maybe, listen_overflows=maybe
            ),
            "fd_usage": st.dictionaries(
                st.sampled_from([PRINTD, APP, ProcessId(99, 0.0)]), st.builds(FdUsage, counts, maybe)
            ),
            "dead_fds": st.lists(
                st.builds(
                    DeadFd,
                    st.sampled_from([PRINTD, APP, ProcessId(99, 0.0)]),
                    st.booleans(),
                    st.floats(0, 1e9),
                ),
                max_size=6,
            ),
            "workers": st.dictionaries(st.sampled_from([PRINTD, APP]), st.lists(st.integers(1, 99))),
            "handle_counts": st.dictionaries(st.sampled_from([PRINTD, APP]), st.integers(0, 20_000)),
            "services": st.dictionaries(st.sampled_from([PRINTD, APP]), st.lists(st.text(), min_size=1)),
            "has_bound_sockets": st.booleans(),
            "queue_bytes": st.dictionaries(groups, st.tuples(counts, counts), max_size=3),
            "max_bound_ports": maybe,
            "close_wait": st.none(),
            "groups": st.none(),
        },
    ),
)


@given(snapshots, st.booleans(), st.booleans())
def test_any_snapshot_has_ordered_findings_with_steps(
    snapshot: Snapshot, with_addresses: bool, windows: bool
) -> None:
    thresholds = Thresholds(close_wait_few=2, close_wait_many=5)
    findings = find_problems(DiagnosisInput(snapshot, with_addresses, windows, thresholds))
    severities = [WORST_FIRST.index(finding.severity) for finding in findings]
    assert severities == sorted(severities)
    for finding in findings:
        assert finding.steps
        for text in (finding.title, finding.detail, *finding.steps):
            assert text
            assert text == text.strip()
            assert text.isprintable()
