"""CLOSE_WAIT, descriptors and accept queues: who does not do what, and how urgent it is."""

from __future__ import annotations

import pytest

from exporter.exposition.findings import find
from exporter.exposition.findings.finding import Kind, Scope, Severity
from exporter.model.close_wait import Cause
from exporter.model.groups import Direction, SocketGroup
from exporter.model.process import ProcessId, Unowned
from exporter.model.sockets import CLOSE_WAIT

from .judging import CRITICAL, NOTE, WARNING, found, nearly_out, only
from .looks import APP, PRINTD, listens, look, stuck


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
        (1_000, 3600, Cause.SENDING, WARNING),
        (100, 0, Cause.UNKNOWN, WARNING),
    ],
)
def test_close_wait_is_judged_by_number_age_and_cause(
    count: int, age: float, cause: Cause, severity: Severity
) -> None:
    assert found(look(stuck(count, age=age, cause_is=cause))) == [(Kind.CLOSE_WAIT, severity)]


def test_a_finding_says_who_what_since_when_and_how_near_to_which_limit() -> None:
    finding = only(look(stuck(412)))
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
    assert finding.near
    assert (finding.near.name, finding.near.used, finding.near.limit) == (
        "file descriptors of pid 4711",
        40,
        1024,
    )


@pytest.mark.parametrize(
    ("cause", "outbound", "title"),
    [
        (
            Cause.NOT_ACCEPTED,
            False,
            "printd (pid 4711) does not accept connections: 20 callers gave up waiting",
        ),
        (Cause.NOT_READ, False, "printd (pid 4711) has not noticed that its clients closed 20 connections"),
        (Cause.NOT_CLOSED, False, "printd (pid 4711) keeps 20 connections open that its clients have closed"),
        (
            Cause.SENDING,
            False,
            "printd (pid 4711) still sends on 20 connections that its clients have closed",
        ),
        (
            Cause.SENDING,
            True,
            "printd (pid 4711) still sends on 20 connections that the servers it called have closed",
        ),
        (Cause.UNKNOWN, False, "printd (pid 4711) has 20 connections that its clients have closed"),
    ],
)
def test_title_of_each_cause_begins_with_the_process(cause: Cause, outbound: bool, title: str) -> None:
    (finding,) = find(Scope(look(stuck(20, cause_is=cause, outbound=outbound))))
    assert finding.title == title


def test_close_wait_is_told_by_process_port_direction_and_cause() -> None:
    seen = look(
        stuck(20),
        stuck(20, port=9100),
        stuck(20, owner=APP),
        stuck(20, cause_is=Cause.NOT_READ),
        stuck(20, outbound=True),
    )
    assert found(seen) == 5 * [(Kind.CLOSE_WAIT, WARNING)]


def test_workers_of_one_name_are_told_of_together_and_a_few_of_their_pids() -> None:
    workers = [ProcessId(pid, 1.0) for pid in range(100, 120)]
    seen = look(*(stuck(5, owner=worker) for worker in workers), names=dict.fromkeys(workers, "nginx"))
    (who,) = only(seen).processes
    assert (who.name, who.pids, who.more) == ("nginx", (100, 101, 102, 103, 104), 15)
    assert "nginx (pids 100, 101, 102, 103, 104 and 15 more)" in only(seen).title


@pytest.mark.parametrize(
    ("held", "used", "severity"),
    [
        (100, 800, CRITICAL),
        (99, 800, NOTE),  # too few to be why the descriptors run out
        (100, 799, NOTE),
    ],
)
def test_close_wait_that_uses_up_the_descriptors_is_critical(
    held: int, used: int, severity: Severity
) -> None:
    pile = [*stuck(held - 9, age=1), *stuck(9, port=9100)]
    of_port = {
        finding.port: finding.severity
        for finding in find(Scope(look(pile, descriptors=nearly_out(used=used))))
        if finding.kind is Kind.CLOSE_WAIT
    }
    assert of_port[9100] is severity


def test_descriptors_that_close_wait_uses_up_are_told_of_once() -> None:
    assert found(look(stuck(500), descriptors=nearly_out())) == [(Kind.CLOSE_WAIT, CRITICAL)]


def test_descriptors_that_something_else_uses_up_are_told_of_beside_close_wait() -> None:
    seen = look(stuck(2), descriptors=nearly_out())
    assert found(seen) == [(Kind.DESCRIPTORS, WARNING), (Kind.CLOSE_WAIT, NOTE)]


@pytest.mark.parametrize(("used", "severity"), [(800, WARNING), (949, WARNING), (950, CRITICAL)])
def test_descriptors_near_their_limit(used: int, severity: Severity) -> None:
    finding = only(look(descriptors=nearly_out(used=used)))
    assert (finding.kind, finding.severity) == (Kind.DESCRIPTORS, severity)
    assert "printd (pid 4711)" in finding.title
    assert "/proc/4711/fd" in finding.advice[0]


def test_without_causes_close_wait_is_still_counted() -> None:
    finding = only(look((SocketGroup(CLOSE_WAIT, PRINTD, Direction.INBOUND, 631), 100), stuck=None))
    assert (finding.severity, finding.cause, finding.oldest_seconds) == (WARNING, Cause.UNKNOWN, None)


def test_psutil_knows_no_age_at_its_first_look() -> None:
    assert only(look(stuck(100, age=0, cause_is=Cause.UNKNOWN))).oldest_seconds is None


@pytest.mark.parametrize(
    ("length", "limit", "severity"),
    [(80, 100, WARNING), (99, 100, WARNING), (100, 100, CRITICAL), (1, 0, CRITICAL)],
)
def test_accept_queues_near_their_limit(length: int, limit: int, severity: Severity) -> None:
    finding = only(look(listeners=[listens(length, limit), listens(0, 4096)]))
    assert (finding.kind, finding.severity, finding.port) == (Kind.ACCEPT_QUEUE, severity, 631)


@pytest.mark.parametrize(("length", "verb"), [(1, "connection waits"), (2, "connections wait")])
def test_waiting_connections_agree_in_number_with_their_verb(length: int, verb: str) -> None:
    detail = only(look(listeners=[listens(length, 2 if length == 2 else 1)])).detail
    assert detail.startswith(f"{length} {verb} to be accepted by printd.")


def test_a_full_accept_queue_of_callers_who_gave_up_is_told_of_once() -> None:
    seen = look(stuck(20, cause_is=Cause.NOT_ACCEPTED), listeners=[listens(21, 20)])
    finding = only(seen)
    assert (finding.kind, finding.severity) == (Kind.CLOSE_WAIT, CRITICAL)
    assert finding.near
    assert finding.near.name == "accept queue of port 631"


def test_an_unknown_process_is_called_so() -> None:
    finding = only(look(stuck(20, owner=Unowned.NOT_FOUND)))
    assert finding.title.startswith("An unknown process keeps")
    assert finding.processes[0].pids == ()
    assert "Restarting the program" in " ".join(finding.advice)
