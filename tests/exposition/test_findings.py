"""From one look at a host to what deserves attention: all kinds, in order."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.exposition.findings import find
from exporter.exposition.findings.finding import WORST_FIRST, Kind, Scope, Severity
from exporter.exposition.findings.thresholds import Thresholds
from exporter.model.close_wait import Cause
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

from .judging import CRITICAL, NOTE, WARNING, found, nearly_out, only
from .looks import APP, HERE, LOOPBACK, PRINTD, QUIET, RANGE, calls, listens, look, serves, stuck, troubled


@pytest.mark.parametrize(
    "seen",
    [
        QUIET,
        look(serves(ESTABLISHED, 100_000), calls(ESTABLISHED, 1_000)),
        look(stuck(99, age=59.9)),
        look(stuck(1, age=0.0)),
        look(serves(TIME_WAIT, 4_000), calls(TIME_WAIT, 4_000)),
        look(calls(SYN_SENT, 99), calls(FIN_WAIT2, 999), serves(SYN_RECV, 99), serves(FIN_WAIT2, 999)),
        look(listeners=[listens(0, 0), listens(79, 100), listens(None, None)]),
        look(descriptors=nearly_out(used=799)),
        look(descriptors={PRINTD: FdUsage(1_000_000, None), APP: FdUsage(0, 0)}),
        look(groups=None, listeners=None, stuck=None, queues=None, limits=None, counters=None),
        look(limits=SysctlLimits(), counters=KernelCounters()),
    ],
    ids=itertools.count(),
)
def test_what_working_hosts_have_is_no_finding(seen: Snapshot) -> None:
    assert find(Scope(seen)) == []


@pytest.mark.parametrize(
    ("counters", "expected"),
    [
        ({"time_wait": 104_857}, []),
        ({"time_wait": 104_858}, [(Kind.TIME_WAIT_BUCKETS, WARNING)]),
        ({"time_wait": 131_072}, [(Kind.TIME_WAIT_BUCKETS, WARNING)]),
        ({"orphans": 65_536}, [(Kind.ORPHANS, WARNING)]),
        ({"orphans": 110_000}, [(Kind.ORPHANS, CRITICAL)]),
        ({"memory_bytes": 299_999_999}, []),
        ({"memory_bytes": 300_000_000}, [(Kind.MEMORY, WARNING)]),
        ({"memory_bytes": 480_000_000}, [(Kind.MEMORY, CRITICAL)]),
        ({"listen_overflows": 1}, [(Kind.LISTEN_OVERFLOWS, NOTE)]),
        ({"time_wait_overflows": 7}, [(Kind.TIME_WAIT_OVERFLOWS, NOTE)]),
    ],
)
def test_what_the_host_shares(counters: dict[str, int], expected: list[tuple[Kind, Severity]]) -> None:
    assert found(look(counters=KernelCounters(**counters))) == expected


def test_counters_are_said_to_be_since_boot() -> None:
    finding = only(look(counters=KernelCounters(listen_overflows=66)))
    assert "66 times since boot" in finding.title


def test_time_wait_is_counted_where_the_kernel_tells_no_number() -> None:
    assert (Kind.TIME_WAIT_BUCKETS, WARNING) in found(look(serves(TIME_WAIT, 110_000), counters=None))


def test_memory_is_told_with_those_who_hold_most() -> None:
    queues = {
        SocketGroup(ESTABLISHED, PRINTD, Direction.INBOUND, 631): (200_000_000, 5),
        SocketGroup(CLOSE_WAIT, PRINTD, Direction.INBOUND, 631): (100_000_000, 0),
        SocketGroup(ESTABLISHED, APP, Direction.OUTBOUND, 80): (0, 50_000),
    }
    finding = only(look(queues=queues, counters=KernelCounters(memory_bytes=500_000_000)))
    assert "printd (286 MiB) and app (48 KiB)" in finding.detail
    assert [who.name for who in finding.processes] == ["printd", "app"]


def test_calls_that_nobody_answers() -> None:
    finding = only(look(calls(SYN_SENT, 60), calls(SYN_SENT, 40, address=HERE), calls(SYN_SENT, 99, port=80)))
    assert (finding.kind, finding.severity, finding.port, finding.count) == (
        Kind.SYN_SENT,
        WARNING,
        5432,
        100,
    )
    assert "2 addresses" in finding.detail
    assert "firewall" in " ".join(finding.advice)


@pytest.mark.parametrize(
    ("backlog", "expected"),
    [(128, [(Kind.SYN_RECV, WARNING)]), (4096, []), (None, [(Kind.SYN_RECV, WARNING)])],
)
def test_callers_who_do_not_confirm(backlog: int | None, expected: list[tuple[Kind, Severity]]) -> None:
    queue = [listens(None if backlog is None else 0, backlog)]
    assert found(look(serves(SYN_RECV, 100), listeners=queue)) == expected


@pytest.mark.parametrize("group", [serves(FIN_WAIT2, 1_000), calls(FIN_WAIT2, 1_000)])
def test_other_sides_that_do_not_close(group: tuple[SocketGroup, int]) -> None:
    finding = only(look(group))
    assert (finding.kind, finding.severity) == (Kind.FIN_WAIT2, WARNING)
    assert "over there" in finding.detail.lower()


def test_what_a_terminal_would_obey_is_not_in_sentences() -> None:
    name = "a\x1b[2J\u202eb\udcffc\n\nd"
    finding = only(look(stuck(20), names={PRINTD: name}))
    for text in (finding.title, finding.detail, *finding.advice):
        assert text.isprintable()
    assert finding.processes[0].name == name


def test_the_worst_comes_first() -> None:
    assert found(troubled()) == [
        (Kind.ACCEPT_QUEUE, CRITICAL),
        (Kind.CLOSE_WAIT, CRITICAL),
        (Kind.EPHEMERAL_PORTS, WARNING),
        (Kind.CLOSE_WAIT, NOTE),
        (Kind.LISTEN_OVERFLOWS, NOTE),
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
piles = st.builds(
    lambda count, age, cause, owner, port, outbound: list(
        stuck(count, age=age, cause_is=cause, owner=owner, port=port, outbound=outbound)
    ),
    st.integers(0, 6),
    st.floats(0, 1e9),
    st.sampled_from(Cause),
    owners,
    ports,
    st.booleans(),
)
observations = st.builds(
    lambda some, pile, changes: look(*some, pile, **changes),
    st.lists(st.tuples(groups, counts), max_size=8),
    piles,
    st.fixed_dictionaries(
        {},
        optional={
            "listeners": st.lists(st.builds(listens, maybe, maybe, owners, ports), max_size=4),
            "names": st.dictionaries(st.sampled_from([PRINTD, APP]), st.text(max_size=20)),
            "limits": st.builds(
                SysctlLimits,
                maybe,
                st.one_of(st.none(), st.floats(0, 300)),
                st.sampled_from([None, 0, 1, 2]),
                st.sampled_from([None, RANGE, replace(RANGE, high=32_768, reserved=frozenset({32_768}))]),
                maybe,
                maybe,
                maybe,
            ),
            "counters": st.builds(
                KernelCounters, time_wait=maybe, orphans=maybe, memory_bytes=maybe, listen_overflows=maybe
            ),
            "descriptors": st.dictionaries(
                st.sampled_from([PRINTD, APP, ProcessId(99, 0.0)]), st.builds(FdUsage, counts, maybe)
            ),
            "queues": st.dictionaries(groups, st.tuples(counts, counts), max_size=3),
            "ports_on_one_address": maybe,
            "stuck": st.none(),
            "groups": st.none(),
        },
    ),
)


@given(observations, st.booleans(), st.booleans())
def test_whatever_is_seen_is_told_in_order_and_with_advice(
    seen: Snapshot, with_addresses: bool, windows: bool
) -> None:
    few = Thresholds(close_wait_few=2, close_wait_many=5)
    findings = find(Scope(seen, with_addresses, windows, few))
    severities = [WORST_FIRST.index(finding.severity) for finding in findings]
    assert severities == sorted(severities)
    for finding in findings:
        assert finding.advice
        for text in (finding.title, finding.detail, *finding.advice):
            assert text
            assert text == text.strip()
            assert text.isprintable()
