"""Findings on CLOSE_WAIT, accept queues and file descriptors."""

from __future__ import annotations

import pytest

from exporter.diagnosis.finding import DiagnosisInput, FindingKind, Severity
from exporter.diagnosis.report import find_problems
from exporter.model.close_wait import Cause
from exporter.model.groups import Direction, SocketGroup
from exporter.model.process import ProcessId, Unowned
from exporter.model.sockets import CLOSE_WAIT

from ..snapshots import APP, PRINTD, close_wait, listener, make_snapshot
from .helpers import CRITICAL, NOTE, WARNING, descriptors_in_use, kinds, only_finding


@pytest.mark.parametrize(
    ("count", "age", "cause", "severity"),
    [
        (1, 60, Cause.NOT_CLOSED, NOTE),
        (9, 86_400, Cause.NOT_READ, NOTE),
        (99, 300, Cause.NOT_CLOSED, WARNING),
        (100, 1, Cause.NOT_CLOSED, WARNING),
        (1_000, 3600, Cause.NOT_CLOSED, CRITICAL),
        (1_000, 3600, Cause.NOT_READ, CRITICAL),
        (1, 60, Cause.NOT_ACCEPTED, WARNING),
        (1_000, 3600, Cause.NOT_ACCEPTED, CRITICAL),
        (99, 3600, Cause.SENDING, NOTE),
        (1_000, 3600, Cause.SENDING, NOTE),
        (100, 0, Cause.UNKNOWN, WARNING),
    ],
)
def test_severity_depends_on_number_age_and_cause(
    count: int, age: float, cause: Cause, severity: Severity
) -> None:
    assert kinds(make_snapshot(close_wait(count, age=age, cause=cause))) == [
        (FindingKind.CLOSE_WAIT, severity)
    ]


def test_finding_has_process_count_age_and_usage() -> None:
    finding = only_finding(make_snapshot(close_wait(412)))
    assert finding.title == "printd (pid 4711) keeps 412 connections open that its clients have closed"
    assert "to its port 631" in finding.detail
    assert "the oldest for 2 h 10 min" in finding.detail
    assert (finding.count, finding.direction, finding.port, finding.cause, finding.oldest_seconds) == (
        412,
        Direction.INBOUND,
        631,
        Cause.NOT_CLOSED,
        7800,
    )
    assert finding.usage
    assert (finding.usage.name, finding.usage.used, finding.usage.limit) == (
        "file descriptors of pid 4711",
        40,
        1024,
    )


@pytest.mark.parametrize(
    ("cause", "direction", "problem"),
    [
        (Cause.NOT_ACCEPTED, Direction.INBOUND, "does not accept connections: 20 clients gave up waiting"),
        (Cause.NOT_READ, Direction.INBOUND, "has not noticed that its clients have closed 20 connections"),
        (Cause.NOT_CLOSED, Direction.INBOUND, "keeps 20 connections open that its clients have closed"),
        (Cause.SENDING, Direction.INBOUND, "still sends on 20 connections that its clients have closed"),
        (Cause.SENDING, Direction.OUTBOUND, "still sends on 20 connections that the servers have closed"),
        (Cause.UNKNOWN, Direction.NONE, "has 20 connections that the peers on its port 631 have closed"),
    ],
)
def test_title_of_each_cause_begins_with_the_process(
    cause: Cause, direction: Direction, problem: str
) -> None:
    finding = only_finding(make_snapshot(close_wait(20, cause=cause, direction=direction)))
    assert finding.title == f"printd (pid 4711) {problem}"


def test_one_finding_per_process_port_direction_and_cause() -> None:
    snapshot = make_snapshot(
        close_wait(20),
        close_wait(20, port=9100),
        close_wait(20, owner=APP),
        close_wait(20, cause=Cause.NOT_READ),
        close_wait(20, direction=Direction.OUTBOUND),
    )
    assert kinds(snapshot) == 5 * [(FindingKind.CLOSE_WAIT, WARNING)]


def test_processes_of_one_name_share_a_finding_with_few_pids() -> None:
    workers = [ProcessId(pid, 1.0) for pid in range(100, 120)]
    snapshot = make_snapshot(
        *(close_wait(5, owner=worker) for worker in workers), names=dict.fromkeys(workers, "nginx")
    )
    (process,) = only_finding(snapshot).processes
    assert (process.name, process.pids, process.more_pids) == ("nginx", (100, 101, 102, 103, 104), 15)
    assert "nginx (pids 100, 101, 102, 103, 104 and 15 more)" in only_finding(snapshot).title


@pytest.mark.parametrize(
    ("held", "used", "severity"),
    [
        (100, 800, CRITICAL),
        (99, 800, NOTE),  # too few to be the reason
        (100, 799, NOTE),
    ],
)
def test_close_wait_that_exhausts_descriptors_is_critical(held: int, used: int, severity: Severity) -> None:
    members = [*close_wait(held - 9, age=1), *close_wait(9, port=9100)]
    of_port = {
        finding.port: finding.severity
        for finding in find_problems(
            DiagnosisInput(make_snapshot(members, fd_usage=descriptors_in_use(used=used)))
        )
        if finding.kind is FindingKind.CLOSE_WAIT
    }
    assert of_port[9100] is severity


def test_sending_is_a_note_even_if_it_exhausts_descriptors() -> None:
    snapshot = make_snapshot(
        close_wait(500, cause=Cause.SENDING), close_wait(2), fd_usage=descriptors_in_use()
    )
    assert kinds(snapshot) == [
        (FindingKind.DESCRIPTORS, WARNING),
        (FindingKind.CLOSE_WAIT, NOTE),
        (FindingKind.CLOSE_WAIT, NOTE),
    ]


@pytest.mark.parametrize(("direction", "is_step"), [(Direction.INBOUND, True), (Direction.OUTBOUND, False)])
def test_not_closed_may_be_a_request_still_being_computed(direction: Direction, is_step: bool) -> None:
    finding = only_finding(make_snapshot(close_wait(20, direction=direction)))
    assert "A request that the program still computes looks the same." in finding.detail
    assert any("still compute" in step for step in finding.steps) is is_step


def test_exhausted_descriptors_and_close_wait_are_one_finding() -> None:
    assert kinds(make_snapshot(close_wait(500), fd_usage=descriptors_in_use())) == [
        (FindingKind.CLOSE_WAIT, CRITICAL)
    ]


def test_descriptors_used_by_other_files_are_another_finding() -> None:
    snapshot = make_snapshot(close_wait(2), fd_usage=descriptors_in_use())
    assert kinds(snapshot) == [(FindingKind.DESCRIPTORS, WARNING), (FindingKind.CLOSE_WAIT, NOTE)]


@pytest.mark.parametrize(("used", "severity"), [(800, WARNING), (949, WARNING), (950, CRITICAL)])
def test_descriptors_near_limit(used: int, severity: Severity) -> None:
    finding = only_finding(make_snapshot(fd_usage=descriptors_in_use(used=used)))
    assert (finding.kind, finding.severity) == (FindingKind.DESCRIPTORS, severity)
    assert "printd (pid 4711)" in finding.title
    assert "/proc/4711/fd" in finding.steps[0]


def test_without_causes_close_wait_is_still_counted() -> None:
    finding = only_finding(
        make_snapshot((SocketGroup(CLOSE_WAIT, PRINTD, Direction.INBOUND, 631), 100), close_wait=None)
    )
    assert (finding.severity, finding.cause, finding.oldest_seconds) == (WARNING, Cause.UNKNOWN, None)


def test_age_is_unknown_in_first_snapshot_of_psutil() -> None:
    assert only_finding(make_snapshot(close_wait(100, age=0, cause=Cause.UNKNOWN))).oldest_seconds is None


@pytest.mark.parametrize(
    ("length", "limit", "severity"),
    [(80, 100, WARNING), (99, 100, WARNING), (100, 100, WARNING), (101, 100, CRITICAL), (1, 0, CRITICAL)],
)
def test_accept_queue_near_limit(length: int, limit: int, severity: Severity) -> None:
    finding = only_finding(make_snapshot(listeners=[listener(length, limit), listener(0, 4096)]))
    assert (finding.kind, finding.severity, finding.port) == (FindingKind.ACCEPT_QUEUE, severity, 631)


@pytest.mark.parametrize(
    ("length", "title", "detail"),
    [
        (128, "is nearly full", "1 more fits; after that the kernel drops connections"),
        (127, "is nearly full", "2 more fit; after that the kernel drops connections"),
        (129, "is full", "The kernel drops further connections"),
    ],
)
def test_queue_holds_one_connection_more_than_its_backlog(length: int, title: str, detail: str) -> None:
    finding = only_finding(make_snapshot(listeners=[listener(length, 128)]))
    assert finding.title.endswith(title)
    assert detail in finding.detail


@pytest.mark.parametrize(("length", "verb"), [(1, "connection waits"), (2, "connections wait")])
def test_verb_agrees_with_number_of_waiting_connections(length: int, verb: str) -> None:
    detail = only_finding(make_snapshot(listeners=[listener(length, 2 if length == 2 else 1)])).detail
    assert detail.startswith(f"{length} {verb} to be accepted by printd.")


def test_full_queue_and_unaccepted_connections_are_one_finding() -> None:
    snapshot = make_snapshot(close_wait(20, cause=Cause.NOT_ACCEPTED), listeners=[listener(21, 20)])
    finding = only_finding(snapshot)
    assert (finding.kind, finding.severity) == (FindingKind.CLOSE_WAIT, CRITICAL)
    assert finding.usage
    assert finding.usage.name == "accept queue of port 631"


def test_unaccepted_connections_have_the_commands_to_look_inside() -> None:
    for snapshot in (
        make_snapshot(close_wait(20, cause=Cause.NOT_ACCEPTED), listeners=[listener(21, 20)]),
        make_snapshot(listeners=[listener(21, 20)]),
    ):
        steps = " ".join(only_finding(snapshot).steps)
        assert "`jstack 4711` (Java), `py-spy dump --pid 4711` (Python), `gdb -p 4711` (others)" in steps
        assert "if 4711 is a master process whose workers accept: `pgrep -P 4711 -a` lists them" in steps


def test_master_of_known_workers_is_named_as_such() -> None:
    master = ProcessId(30, 1.0)
    rows = close_wait(20, cause=Cause.NOT_ACCEPTED, owner=master)
    finding = only_finding(
        make_snapshot(
            rows, listeners=[listener(21, 20, master)], names={master: "nginx"}, workers={master: (31, 32)}
        )
    )
    assert finding.title.startswith("nginx (pid 30) does not accept connections")
    assert "Pid 30 is that of the master" in finding.detail
    assert "its workers (pids 31 and 32) probably accept" in finding.detail
    steps = " ".join(finding.steps)
    assert "each worker of nginx (pids 31 and 32) waits for: `jstack 31`" in steps
    assert "pgrep" not in steps


def test_workers_with_listeners_of_their_own_have_no_master() -> None:
    workers = [ProcessId(30, 1.0), ProcessId(31, 1.0)]
    finding = only_finding(
        make_snapshot(
            listeners=[listener(21, 20, worker) for worker in workers],
            names=dict.fromkeys(workers, "nginx"),
            workers={workers[0]: (31,)},
        )
    )
    assert "master" not in finding.detail


def test_accept_queue_of_a_process_without_descriptors_names_them() -> None:
    snapshot = make_snapshot(listeners=[listener(21, 20)], fd_usage=descriptors_in_use(used=64, limit=64))
    descriptors, queue = find_problems(DiagnosisInput(snapshot))
    assert descriptors.title == "printd (pid 4711) is out of file descriptors"
    assert queue.steps[0].startswith("Free file descriptors first: pid 4711 has none left")


def test_unknown_process_is_named_so() -> None:
    finding = only_finding(make_snapshot(close_wait(20, owner=Unowned.NOT_FOUND)))
    assert finding.title.startswith("An unknown process keeps")
    assert finding.processes[0].pids == ()
    assert "Restart the program" in " ".join(finding.steps)
