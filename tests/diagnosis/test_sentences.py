"""Titles, details and steps of all findings are complete English sentences, in every combination."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Final

import pytest

from exporter.diagnosis.finding import DiagnosisInput, Finding, FindingKind
from exporter.diagnosis.report import find_problems
from exporter.diagnosis.thresholds import Levels, Thresholds
from exporter.model.close_wait import Cause
from exporter.model.groups import Direction, SocketGroup
from exporter.model.host import FdUsage, KernelCounters, SysctlLimits
from exporter.model.process import Owner, ProcessId, Unowned
from exporter.model.snapshot import Snapshot
from exporter.model.sockets import ESTABLISHED, FIN_WAIT2, SYN_RECV, SYN_SENT, TIME_WAIT

from ..snapshots import APP, HERE, PRINTD, RANGE, close_wait, dead, inbound, listener, make_snapshot, outbound
from .helpers import quiet_limits

MANY: Final = 2
WORKERS: Final = {ProcessId(pid, 1.0): "nginx" for pid in range(30, 40)}
OWNERS: Final[tuple[Owner, ...]] = (PRINTD, next(iter(WORKERS)), Unowned.NOT_FOUND)
NAMES: Final = {PRINTD: "printd", APP: "app", **WORKERS}

ALWAYS: Final = Levels(0.0, 2.0)
THRESHOLDS: Final = Thresholds(
    close_wait_few=1,
    close_wait_many=MANY,
    descriptors=ALWAYS,
    accept_queue=ALWAYS,
    ports=ALWAYS,
    bound_ports=ALWAYS,
    time_wait_buckets=ALWAYS,
    orphans=ALWAYS,
    memory=ALWAYS,
    time_wait_many=1,
    handles_many=1,
    syn_sent_many=1,
    syn_recv_many=1,
    syn_recv_share=0.0,
    fin_wait2_many=1,
)
CRITICAL: Final = replace(
    THRESHOLDS, descriptors=Levels(0.0, 0.0), accept_queue=Levels(0.0, 0.0), ports=Levels(0.0, 0.0)
)


def close_wait_snapshots() -> Iterator[Snapshot]:
    """CLOSE_WAIT of each cause, direction, number, owner and age."""
    ages = (0.0, 60.0, 7800.0)
    for cause, direction, count, owner, age in itertools.product(Cause, Direction, (1, MANY), OWNERS, ages):
        rows = close_wait(count, cause=cause, direction=direction, owner=owner, age=age)
        yield make_snapshot(rows, names=NAMES)


def leak_snapshots() -> Iterator[Snapshot]:
    """CLOSE_WAIT with and without keepalive, dead file descriptors, and no descriptors left."""
    causes = (None, Cause.NOT_CLOSED, Cause.NOT_READ, Cause.NOT_ACCEPTED, Cause.SENDING, Cause.UNKNOWN)
    for cause, count, lost, others, used, age in itertools.product(
        causes, (1, MANY), (0, 1, MANY), (0, 1, MANY), (None, 4, 5), (0.0, 90.0)
    ):
        fds = [*dead(lost, age=age), *dead(others, was_connected=False)]
        usage = {} if used is None else {PRINTD: FdUsage(used, 5)}
        silent = None if age else 7800.0
        rows = [] if cause is None else list(close_wait(count, cause=cause, age=age, silent=silent))
        more = [] if cause is None else list(close_wait(count, cause=cause, age=age, port=9))
        for members in ([rows], [rows, rows, more]):
            yield make_snapshot(*members, dead_fds=fds, fd_usage=usage, names=NAMES)


def state_snapshots() -> Iterator[Snapshot]:
    """Sockets in the states that findings are about, and their limits, known or not."""
    limits: tuple[SysctlLimits | None, ...] = (
        None,
        SysctlLimits(),
        *(quiet_limits(time_wait_reuse=reuse) for reuse in (0, 1, 2)),
        quiet_limits(ephemeral=None, time_wait_seconds=None),
        quiet_limits(ephemeral=replace(RANGE, high=RANGE.low + 1)),
    )
    states = (ESTABLISHED, SYN_SENT, SYN_RECV, FIN_WAIT2, TIME_WAIT)
    for state, count, owner, limit in itertools.product(states, (1, MANY), OWNERS, limits):
        yield make_snapshot(outbound(state, count, owner=owner), limits=limit, names=NAMES)
        yield make_snapshot(inbound(state, count, owner=owner), limits=limit, names=NAMES)
        yield make_snapshot((SocketGroup(state, owner, Direction.NONE, 9), count), limits=limit, names=NAMES)
        local = outbound(state, count, owner=APP, address=HERE, port=631)
        for other in (1, MANY):
            peers = close_wait(other, owner=owner, age=1)
            rows = [
                row._replace(
                    close_wait=row.close_wait._replace(
                        socket=row.close_wait.socket._replace(remote_address=HERE)
                    )
                )
                for row in peers
            ]
            yield make_snapshot(local, rows, limits=limit, names=NAMES)
            yield make_snapshot(local, outbound(state, 1, port=631), rows, limits=limit, names=NAMES)
        both = outbound(state, count, owner=owner), outbound(state, 1, owner=APP), outbound(state, 1)
        yield make_snapshot(*both, limits=limit, names=NAMES, max_bound_ports=count + 9)


def limit_snapshots() -> Iterator[Snapshot]:
    """Accept queues, file descriptors, and the limits and counters of the host."""
    for count, owner in itertools.product((0, 1, MANY), OWNERS):
        for limit, workers in itertools.product((0, 1, 5), ((), (31,), range(31, 39))):
            queues = [listener(count, limit, owner)]
            masters = {owner: workers} if isinstance(owner, ProcessId) else {}
            yield make_snapshot(listeners=queues, names=NAMES, workers=masters)
            full = {owner: FdUsage(5, 5)} if isinstance(owner, ProcessId) else {}
            yield make_snapshot(listeners=queues, names=NAMES, fd_usage=full)
        workers = dict.fromkeys([*WORKERS, PRINTD][: 1 + count], FdUsage(count, 100))
        yield make_snapshot(fd_usage=workers, names=NAMES)
        group = SocketGroup(ESTABLISHED, owner, Direction.INBOUND, 631)
        counters = KernelCounters(
            time_wait=count,
            orphans=count,
            memory_bytes=count,
            listen_overflows=count,
            time_wait_overflows=count,
        )
        yield make_snapshot(queue_bytes={group: (count, count)}, counters=counters, names=NAMES)


def windows_only_snapshots() -> Iterator[Snapshot]:
    """Handles, MaxUserPort, services, and times at which connections were opened."""
    for count, owner, services, opened in itertools.product(
        (1, MANY), OWNERS, ((), ("Spooler",), ("A", "B", "C"), tuple("ABCDE")), (0.5, 300_000.0)
    ):
        group = inbound(ESTABLISHED, count, owner=owner)
        running = {owner: services} if services and isinstance(owner, ProcessId) else {}
        rows = [
            row._replace(close_wait=row.close_wait._replace(seconds_since_opened=opened))
            for age in (0.0, 90.0)
            for row in close_wait(count, owner=owner, cause=Cause.UNKNOWN, age=age)
        ]
        handles = {owner: count} if isinstance(owner, ProcessId) else {}
        yield make_snapshot(group, rows, services=running, handle_counts=handles, names=NAMES)
    for ephemeral, assumed in itertools.product((RANGE, None), (False, True)):
        limits = SysctlLimits(ephemeral=ephemeral, ephemeral_is_assumed=assumed, max_user_port=5_000)
        yield make_snapshot(outbound(TIME_WAIT, MANY), limits=limits, names=NAMES)


SNAPSHOTS: Final = (
    close_wait_snapshots,
    leak_snapshots,
    state_snapshots,
    limit_snapshots,
    windows_only_snapshots,
)


def findings(snapshots: Callable[[], Iterator[Snapshot]]) -> Iterator[Finding]:
    for snapshot in snapshots():
        for windows, with_addresses, thresholds in itertools.product(
            (False, True), (False, True), (THRESHOLDS, CRITICAL)
        ):
            yield from find_problems(DiagnosisInput(snapshot, with_addresses, windows, thresholds))


FINDINGS: Final = {
    (finding.kind, finding.title, finding.detail, finding.steps): finding
    for snapshots in SNAPSHOTS
    for finding in findings(snapshots)
}.values()

SUBJECT: Final = re.compile(
    r"((printd|app|nginx) \((services? [\w, ]+, )?pids? [\d, and more]+\)|An unknown process|The host"
    r"|The peer of 1 connection|The peers of \d+ connections) "
)
VERBS: Final = "has|keeps|still sends|does not|do not|accepts|is running|is out|gets|uses|with"


def of_kind(kind: FindingKind) -> list[Finding]:
    matching = [finding for finding in FINDINGS if finding.kind is kind]
    assert matching, f"no snapshot has a finding of this kind: {kind}"
    return matching


def sentences(text: str) -> list[str]:
    """Split a text into sentences, without quoted code."""
    return re.split(r"(?<=\.)\s", without_code(text))


def without_code(text: str) -> str:
    return re.sub(r"`[^`]*`", "`code`", text)


def agrees_in_number(text: str) -> bool:
    """Return whether nouns and verbs agree with the numbers before them."""
    nouns = (
        r"((?:half-open |orphaned |accept queue |TIME_WAIT |(?:dead |further )?(?:file )?)?"
        r"(?:connection|client|socket|overflow|address|descriptor|handle))"
    )
    plurals = rf"(?<![\d,.]){{}} {nouns}(s|es)?\b"
    singular = re.findall(plurals.format("1"), text)
    plural = re.findall(plurals.format(r"(?:0|[2-9]|\d[\d,]+)"), text)
    verbs = re.findall(r"(?<![\d,.])1 connection (?:\S+ ){0,6}?(are|wait|have)\b", text)
    return not any(ending for _, ending in singular) and all(ending for _, ending in plural) and not verbs


@pytest.mark.parametrize("kind", FindingKind)
def test_title_is_one_sentence_that_begins_with_its_subject(kind: FindingKind) -> None:
    for finding in of_kind(kind):
        assert SUBJECT.match(finding.title), finding.title
        assert re.search(rf"\b({VERBS})\b", finding.title), finding.title
        assert not finding.title.endswith((".", ",", ":", " ")), finding.title
        assert len(sentences(finding.title)) == 1, finding.title


@pytest.mark.parametrize("kind", FindingKind)
def test_detail_and_steps_are_sentences_with_full_stops(kind: FindingKind) -> None:
    for finding in of_kind(kind):
        assert finding.steps
        for text in (finding.detail, *finding.steps):
            assert text.endswith("."), text
            for sentence in sentences(text):
                assert re.match(r"[A-Z0-9]", sentence), text


@pytest.mark.parametrize("kind", FindingKind)
def test_steps_begin_with_a_verb_in_the_imperative(kind: FindingKind) -> None:
    verbs = {step.split()[0] for finding in of_kind(kind) for step in finding.steps}
    assert verbs <= {
        *(
            "Add",
            "Block",
            "Check",
            "End",
            "Configure",
            "Find",
            "Fix",
            "Free",
            "Give",
            "Ignore",
            "Keep",
            "Leave",
            "Limit",
            "List",
        ),
        *(
            "Look",
            "Lower",
            "Raise",
            "Remove",
            "Report",
            "Restart",
            "Run",
            "Set",
            "Shorten",
            "Spread",
            "Widen",
        ),
    }


@pytest.mark.parametrize("kind", FindingKind)
def test_texts_have_no_placeholders_and_agree_in_number(kind: FindingKind) -> None:
    for finding in of_kind(kind):
        for text in (finding.title, finding.detail, *finding.steps):
            assert not re.search(r"[{}]|\bNone\b|  |\.\.| [.,:;]|Cause\.|Direction\.", without_code(text)), (
                text
            )
            assert agrees_in_number(text), text


@pytest.mark.parametrize("cause", Cause)
@pytest.mark.parametrize("direction", Direction)
def test_every_cause_and_direction_has_texts_for_one_and_many(cause: Cause, direction: Direction) -> None:
    matching = [
        finding
        for finding in of_kind(FindingKind.CLOSE_WAIT)
        if (finding.cause, finding.direction) == (cause, direction)
    ]
    assert {finding.count for finding in matching} >= {1, MANY}
    assert len({finding.title for finding in matching}) >= 2 * len(OWNERS)


def test_steps_on_windows_use_no_linux_tools() -> None:
    for snapshot in close_wait_snapshots():
        for finding in find_problems(DiagnosisInput(snapshot, windows=True, thresholds=THRESHOLDS)):
            if finding.kind is FindingKind.CLOSE_WAIT:
                assert not re.search(r"gdb|/proc|net\.ipv4", " ".join(finding.steps))
