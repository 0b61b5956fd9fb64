"""CLOSE_WAIT and dead file descriptors of a process are one leak; keepalive leaves only bounds of the age."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from exporter.diagnosis.finding import DiagnosisInput, FindingKind, Severity
from exporter.diagnosis.report import find_problems
from exporter.model.close_wait import Cause
from exporter.model.groups import Direction
from exporter.model.process import ProcessId

from ..snapshots import APP, close_wait, dead, listener, make_snapshot
from .helpers import CRITICAL, NOTE, WARNING, descriptors_in_use, kinds, only_finding

FULL = descriptors_in_use(used=64, limit=64)


class TestOutOfDescriptors:
    def test_young_close_wait_is_the_headline(self) -> None:
        snapshot = make_snapshot(close_wait(59, age=20), fd_usage=FULL, listeners=[listener(129, 128)])
        headline, queue = find_problems(DiagnosisInput(snapshot))
        assert (headline.kind, headline.severity) == (FindingKind.CLOSE_WAIT, CRITICAL)
        assert headline.title == (
            "printd (pid 4711) is out of file descriptors: "
            "59 of 64 are connections that its clients have closed"
        )
        assert headline.detail.startswith("It can neither accept nor open connections")
        assert "59 connections to its port 631 are in CLOSE_WAIT, the oldest for 20 s" in headline.detail
        assert headline.usage
        assert (headline.usage.used, headline.usage.limit) == (64, 64)
        assert queue.kind is FindingKind.ACCEPT_QUEUE

    def test_limit_that_is_nearly_reached_is_named(self) -> None:
        finding = only_finding(
            make_snapshot(close_wait(59, age=20), fd_usage=descriptors_in_use(used=62, limit=64))
        )
        assert "is running out of file descriptors: 59 of 62 are connections" in finding.title
        assert "When none is left, it can neither accept" in finding.detail

    def test_below_that_young_connections_are_not_the_reason(self) -> None:
        snapshot = make_snapshot(close_wait(59, age=20), fd_usage=descriptors_in_use(used=55, limit=64))
        assert kinds(snapshot) == [(FindingKind.DESCRIPTORS, WARNING)]

    def test_few_young_connections_are_not_the_reason(self) -> None:
        assert kinds(make_snapshot(close_wait(6, age=20), fd_usage=FULL)) == [
            (FindingKind.DESCRIPTORS, CRITICAL)
        ]

    def test_connections_of_all_ports_and_causes_count(self) -> None:
        snapshot = make_snapshot(
            close_wait(30, age=20),
            close_wait(20, age=20, cause=Cause.NOT_READ),
            close_wait(9, age=20, port=9100),
            fd_usage=FULL,
        )
        finding = only_finding(snapshot)
        assert "59 of 64 are connections that its clients have closed" in finding.title
        assert "29 further connections in CLOSE_WAIT have another port or cause." in finding.detail

    def test_peers_are_named_by_the_direction_of_all(self) -> None:
        snapshot = make_snapshot(
            close_wait(30, age=20), close_wait(29, age=20, direction=Direction.OUTBOUND), fd_usage=FULL
        )
        assert "59 of 64 are connections that the peers have closed" in only_finding(snapshot).title

    def test_half_closed_transfers_are_not_the_reason(self) -> None:
        snapshot = make_snapshot(close_wait(59, age=20, cause=Cause.SENDING), fd_usage=FULL)
        assert kinds(snapshot) == [(FindingKind.DESCRIPTORS, CRITICAL)]

    def test_dead_descriptors_count_as_well(self) -> None:
        snapshot = make_snapshot(close_wait(10, age=20), dead_fds=dead(49), fd_usage=FULL)
        assert only_finding(snapshot).title == (
            "printd (pid 4711) is out of file descriptors: "
            "10 of 64 are connections that its clients have closed, and 49 are dead"
        )

    def test_worker_that_is_out_is_named_and_not_another(self) -> None:
        workers = [ProcessId(pid, 1.0) for pid in (30, 31)]
        snapshot = make_snapshot(
            close_wait(2, age=20, owner=workers[0]),
            close_wait(59, age=20, owner=workers[1]),
            names=dict.fromkeys(workers, "nginx"),
            fd_usage=descriptors_in_use(workers[0], 60, 100) | descriptors_in_use(workers[1], 64, 64),
        )
        finding = only_finding(snapshot)
        assert finding.title.startswith("nginx (pid 31) is out of file descriptors: 59 of 64")


class TestCauses:
    def test_of_one_port_are_one_leak(self) -> None:
        # Whether the FIN was read depends on when it came: neither would be a warning alone.
        snapshot = make_snapshot(close_wait(7, cause=Cause.NOT_READ), close_wait(9))
        finding, other = find_problems(DiagnosisInput(snapshot))
        assert (finding.severity, finding.cause, finding.count) == (WARNING, Cause.NOT_CLOSED, 9)
        assert "7 further connections in CLOSE_WAIT have another cause." in finding.detail
        assert (other.severity, other.cause) == (NOTE, Cause.NOT_READ)

    def test_young_connections_with_keepalive_add_up(self) -> None:
        snapshot = make_snapshot(
            close_wait(9, age=12, silent=76, cause=Cause.NOT_READ), close_wait(9, age=12, silent=30)
        )
        assert [severity for _, severity in kinds(snapshot)] == [WARNING]

    @pytest.mark.parametrize(
        "other",
        [
            {"cause": Cause.SENDING},
            {"cause": Cause.NOT_ACCEPTED, "age": 1},
            {"port": 9100},
            {"direction": Direction.OUTBOUND},
        ],
    )
    def test_pools_and_other_ports_are_not_added(self, other: dict[str, Any]) -> None:
        snapshot = make_snapshot(close_wait(9), close_wait(9, **other))
        assert WARNING not in {severity for _, severity in kinds(snapshot)}


class TestKeepalive:
    def test_young_connections_with_keepalive_are_possibly_old(self) -> None:
        finding = only_finding(make_snapshot(close_wait(51, age=12, silent=10_800)))
        assert finding.severity is WARNING
        assert (
            "51 connections to its port 631 are in CLOSE_WAIT, the oldest for 12 s to 3 h." in finding.detail
        )
        assert "Keepalive is on" in finding.detail
        assert (finding.oldest_seconds, finding.oldest_at_most_seconds) == (12, 10_800)

    @pytest.mark.parametrize(
        ("count", "age", "silent", "expected"),
        [
            (51, 12, 10_800, [WARNING]),
            (51, 12, 76, [WARNING]),
            (51, 12, 59, []),  # none is older than a minute
            (9, 12, 10_800, []),  # a pool
            (51, 0.1, 10_800, [NOTE]),  # peers that have all closed a moment ago, or probes every second
            (9, 61, 10_800, [NOTE]),
            (10, 1_000, 10_800, [WARNING]),
            (100, 0.1, 10, [WARNING]),
            (1_000, 3_600, 10_800, [CRITICAL]),
            (1_000, 12, 10_800, [WARNING]),
        ],
    )
    def test_severity(self, count: int, age: float, silent: float, expected: list[Severity]) -> None:
        rows = close_wait(count, age=age, silent=silent)
        assert [severity for _, severity in kinds(make_snapshot(rows))] == expected

    def test_without_keepalive_the_last_data_do_not_count(self) -> None:
        rows = [
            row._replace(close_wait=row.close_wait._replace(seconds_since_data=10_800.0))
            for row in close_wait(51, age=12)
        ]
        assert kinds(make_snapshot(rows)) == []

    def test_equal_bounds_are_one_age(self) -> None:
        finding = only_finding(make_snapshot(close_wait(51, age=7_800, silent=7_800.5)))
        assert "the oldest for 2 h 10 min." in finding.detail

    @pytest.mark.parametrize("cause", [Cause.NOT_CLOSED, Cause.NOT_READ])
    def test_nothing_says_that_the_state_never_ends(self, cause: Cause) -> None:
        for snapshot in (
            make_snapshot(close_wait(51, cause=cause)),
            make_snapshot(dead_fds=dead(51, age=90)),
        ):
            steps = " ".join(only_finding(snapshot).steps)
            assert "without `close()` nothing else does" in steps
            assert "ends CLOSE_WAIT" not in steps


class TestDeadDescriptors:
    def test_belong_to_the_finding_on_close_wait(self) -> None:
        finding = only_finding(
            make_snapshot(close_wait(51, age=12, silent=76), dead_fds=dead(68, was_connected=False))
        )
        assert finding.severity is WARNING
        assert finding.title == (
            "printd (pid 4711) keeps 51 connections open that its clients have closed, "
            "and has 68 dead file descriptors"
        )
        assert (finding.count, finding.dead_fds) == (51, 68)
        assert "68 further file descriptors are dead" in finding.detail
        assert "lost its connection before the exporter observed it, was never connected" in finding.detail

    def test_confirm_young_connections_with_keepalive(self) -> None:
        rows = list(close_wait(10, age=0.5, silent=2))
        assert kinds(make_snapshot(rows, dead_fds=dead(9, was_connected=False))) == []
        finding = only_finding(make_snapshot(rows, dead_fds=dead(10, was_connected=False)))
        assert finding.severity is WARNING
        assert "Probably they belong to the same leak." in finding.detail

    def test_many_confirm_a_single_young_connection_with_keepalive(self) -> None:
        rows = list(close_wait(1, age=0.5, silent=2))
        assert kinds(make_snapshot(rows, dead_fds=dead(99, was_connected=False))) == []
        finding = only_finding(make_snapshot(rows, dead_fds=dead(100, was_connected=False)))
        assert finding.severity is WARNING
        assert "Probably they belong to the same leak." in finding.detail

    def test_are_one_leak_with_close_wait(self) -> None:
        # Neither would be a warning alone.
        finding = only_finding(make_snapshot(close_wait(50, age=30), dead_fds=dead(50)))
        assert (finding.severity, finding.count, finding.dead_fds) == (WARNING, 50, 50)
        finding = only_finding(make_snapshot(close_wait(50, age=9_000), dead_fds=dead(60, age=90)))
        assert finding.severity is CRITICAL

    def test_are_part_of_the_largest_finding_only(self) -> None:
        snapshot = make_snapshot(close_wait(20), close_wait(30, port=9100), dead_fds=dead(40, age=90))
        first, second = find_problems(DiagnosisInput(snapshot))
        assert (first.port, first.dead_fds) == (9100, 40)
        assert (second.port, second.dead_fds) == (631, None)

    @pytest.mark.parametrize("cause", [Cause.NOT_ACCEPTED, Cause.SENDING])
    def test_do_not_belong_to_connections_without_fault_or_descriptor(self, cause: Cause) -> None:
        snapshot = make_snapshot(close_wait(20, cause=cause), dead_fds=dead(40, age=90))
        assert {kind for kind, _ in kinds(snapshot)} == {FindingKind.CLOSE_WAIT, FindingKind.DEAD_FDS}

    def test_of_other_processes_are_another_finding(self) -> None:
        snapshot = make_snapshot(close_wait(20), dead_fds=dead(40, owner=APP, age=90))
        assert kinds(snapshot) == [(FindingKind.DEAD_FDS, WARNING), (FindingKind.CLOSE_WAIT, WARNING)]

    @pytest.mark.parametrize(
        ("count", "was_connected", "age", "expected"),
        [
            (9, True, 59, []),
            (9, True, 60, [NOTE]),
            (10, True, 60, [WARNING]),
            (100, True, 0, [WARNING]),
            (100, True, 60, [CRITICAL]),
            (99, False, 86_400, []),
            (5_000, False, 86_400, [NOTE]),  # never blamed alone
        ],
    )
    def test_severity_without_close_wait(
        self, count: int, was_connected: bool, age: float, expected: list[Severity]
    ) -> None:
        snapshot = make_snapshot(dead_fds=dead(count, was_connected=was_connected, age=age), fd_usage={})
        assert [severity for _, severity in kinds(snapshot)] == expected

    def test_that_use_up_the_descriptors_are_named(self) -> None:
        finding = only_finding(
            make_snapshot(
                dead_fds=dead(30, was_connected=False), fd_usage=descriptors_in_use(used=36, limit=40)
            )
        )
        assert (finding.kind, finding.severity) == (FindingKind.DEAD_FDS, WARNING)
        assert finding.title == (
            "printd (pid 4711) is running out of file descriptors: "
            "30 of 36 are TCP sockets without a connection"
        )
        assert "Probably the program does not close connections that have ended." in finding.detail

    def test_that_use_up_the_descriptors_are_named_with_young_connections(self) -> None:
        snapshot = make_snapshot(
            close_wait(2, age=1),
            dead_fds=dead(30, was_connected=False),
            fd_usage=descriptors_in_use(used=36, limit=40),
        )
        finding = only_finding(snapshot)
        assert (finding.kind, finding.severity) == (FindingKind.CLOSE_WAIT, WARNING)
        assert finding.title.endswith(
            "2 connections open that its clients have closed, and has 30 dead file descriptors"
        )

    def test_observed_ones_that_use_up_the_descriptors_are_certain(self) -> None:
        finding = only_finding(
            make_snapshot(dead_fds=dead(30), fd_usage=descriptors_in_use(used=36, limit=40))
        )
        assert finding.severity is CRITICAL
        assert "robably" not in finding.detail
        assert "a reset or a timeout has removed the connection" in finding.detail

    def test_certain_ones_and_others_are_told_apart(self) -> None:
        fds = [*dead(20, age=90), *dead(3, was_connected=False, age=90)]
        detail = only_finding(make_snapshot(dead_fds=fds)).detail
        assert "23 file descriptors are dead: TCP sockets without a connection" in detail
        assert "20 of them were connected before" in detail
        assert "the oldest has been dead for at least 90 s" in detail
        assert "Each other one lost its connection before the exporter observed it" in detail

    def test_unread_descriptors_are_none(self) -> None:
        assert kinds(replace(make_snapshot(close_wait(20)), dead_fds=None)) == [
            (FindingKind.CLOSE_WAIT, WARNING)
        ]
