"""Findings on CLOSE_WAIT: the peer has closed, the local program has not. The state never ends by itself."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple, assert_never

from ..model import sockets
from ..model.close_wait import Cause
from ..model.groups import Direction
from ..model.process import Owner, ProcessId
from ..model.snapshot import Snapshot
from . import accept_queue_findings, file_descriptor_findings
from .finding import DiagnosisInput, Finding, FindingKind, ProcessRef, Severity, Usage
from .formatting import (
    format_duration,
    group_by_name,
    paragraph,
    paragraphs,
    plural,
    short_name,
    with_pids_capitalized,
)


class _ClusterKey(NamedTuple):
    """Properties that all connections of a finding share."""

    name: str
    port: int
    direction: Direction
    cause: Cause


@dataclass(frozen=True, slots=True)
class _Member:
    """Number of connections with the same key, owner and age."""

    key: _ClusterKey
    owner: Owner
    age_seconds: float | None
    """None if the source does not know the age yet."""
    count: int


@dataclass(frozen=True, slots=True)
class _Cluster:
    """Connections with the same key."""

    key: _ClusterKey
    members: list[_Member]
    usage: Usage | None
    exhausts_limit: bool
    """Whether the limit is nearly reached, and these connections are a considerable share of it."""

    @property
    def count(self) -> int:
        return sum(member.count for member in self.members)

    @property
    def oldest_seconds(self) -> float | None:
        return max(
            (member.age_seconds for member in self.members if member.age_seconds is not None), default=None
        )

    def older_than(self, seconds: float) -> int:
        return sum(
            member.count
            for member in self.members
            if member.age_seconds is not None and member.age_seconds >= seconds
        )


def find_close_wait(data: DiagnosisInput) -> Iterator[Finding]:
    """Yield a finding for each process, port, direction and cause with old or many connections."""
    by_key: defaultdict[_ClusterKey, list[_Member]] = defaultdict(list)
    descriptors: Counter[Owner] = Counter()
    for member in _members(data.snapshot):
        by_key[member.key].append(member)
        if _takes_descriptor(member.key.cause) and member.key.cause is not Cause.SENDING:
            descriptors[member.owner] += member.count
    queues = accept_queue_findings.most_utilized_queue(data.snapshot)
    for key, members in by_key.items():
        usage, exhausts_limit = _limit_usage(key, members, queues, descriptors, data)
        cluster = _Cluster(key, members, usage, exhausts_limit)
        if severity := _rate(cluster, data):
            yield _build_finding(cluster, severity, data)


def _members(snapshot: Snapshot) -> Iterator[_Member]:
    if snapshot.close_wait is None:
        # The collector is disabled or failed: the number of connections is still known.
        for group, count in (snapshot.groups or {}).items():
            if group.state == sockets.CLOSE_WAIT:
                name = snapshot.process_name(group.owner)
                key = _ClusterKey(name, group.port, group.direction, Cause.UNKNOWN)
                yield _Member(key, group.owner, None, count)
        return
    for sock, group, cause, age in snapshot.close_wait:
        key = _ClusterKey(snapshot.process_name(group.owner), group.port, group.direction, cause)
        # For a source without times the age is 0 in the first collection, which means unknown.
        yield _Member(key, group.owner, age if age or sock.seconds_since_ack is not None else None, 1)


def _takes_descriptor(cause: Cause) -> bool:
    """Return whether the connections count towards the limit of file descriptors.

    A connection that the program has not accepted takes a place in the accept queue, and no descriptor.
    """
    match cause:
        case Cause.NOT_ACCEPTED:
            return False
        case Cause.NOT_READ | Cause.NOT_CLOSED | Cause.SENDING | Cause.UNKNOWN:
            return True
        case _:
            assert_never(cause)


def _limit_usage(
    key: _ClusterKey,
    members: Iterable[_Member],
    queues: Mapping[tuple[str, int], accept_queue_findings.QueueUsage],
    descriptors: Mapping[Owner, int],
    data: DiagnosisInput,
) -> tuple[Usage | None, bool]:
    """Return the usage of the limit that the connections count towards, and whether they exhaust it."""
    if not _takes_descriptor(key.cause):
        queue = queues.get((key.name, key.port))
        is_full = queue is not None and queue.usage.ratio >= data.thresholds.accept_queue.critical
        return queue.usage if queue else None, is_full
    utilized = file_descriptor_findings.highest_fd_usage({member.owner for member in members}, data.snapshot)
    if utilized is None:
        return None, False
    owner, usage = utilized
    share = descriptors[owner] / usage.limit
    thresholds = data.thresholds
    return usage, usage.ratio >= thresholds.descriptors.warning and share >= thresholds.close_wait_share


def _rate(cluster: _Cluster, data: DiagnosisInput) -> Severity | None:
    """Return the severity; None if working programs have such connections as well."""
    thresholds = data.thresholds
    old_count, is_many = (
        cluster.older_than(thresholds.close_wait_old_seconds),
        cluster.count >= thresholds.close_wait_many,
    )
    if not old_count and not is_many:
        return None
    match cluster.key.cause:
        case Cause.SENDING:
            # No fault of the program. A limit of descriptors that is nearly reached is a finding of its own.
            return Severity.NOTE
        case Cause.NOT_ACCEPTED:
            min_old = 1  # A client that has waited a minute for accept() is not served, nor will others be.
        case Cause.NOT_READ | Cause.NOT_CLOSED | Cause.UNKNOWN:
            min_old = thresholds.close_wait_few
        case _:
            assert_never(cluster.key.cause)
    if cluster.exhausts_limit or old_count >= thresholds.close_wait_many:
        return Severity.CRITICAL
    return Severity.WARNING if is_many or old_count >= min_old else Severity.NOTE


def _build_finding(cluster: _Cluster, severity: Severity, data: DiagnosisInput) -> Finding:
    key = cluster.key
    owners: Counter[Owner] = Counter()
    for member in cluster.members:
        owners[member.owner] += member.count
    processes = group_by_name(owners, data.snapshot)
    pid = next((owner.pid for owner, _ in owners.most_common() if isinstance(owner, ProcessId)), None)
    return Finding(
        kind=FindingKind.CLOSE_WAIT,
        severity=severity,
        title=f"{with_pids_capitalized(processes[0])} {_title_predicate(key, cluster.count)}",
        detail=_detail(key, cluster.count, cluster.oldest_seconds),
        steps=_steps(key, processes[0], pid, windows=data.windows),
        processes=processes,
        count=cluster.count,
        direction=key.direction,
        port=key.port,
        cause=key.cause,
        oldest_seconds=cluster.oldest_seconds,
        usage=cluster.usage,
    )


def _title_predicate(key: _ClusterKey, count: int) -> str:
    """Return the predicate of the title."""
    connections, closed = plural(count, "connection"), f"{_peers(key.direction, count)} closed"
    match key.cause:
        case Cause.NOT_ACCEPTED:
            return f"does not accept connections: {plural(count, 'client')} gave up waiting"
        case Cause.NOT_READ:
            return f"has not noticed that {closed} {connections}"
        case Cause.NOT_CLOSED:
            return f"keeps {connections} open that {closed}"
        case Cause.SENDING:
            return f"still sends on {connections} that {closed}"
        case Cause.UNKNOWN:
            return f"has {connections} that {closed}"
        case _:
            assert_never(key.cause)


def _peers(direction: Direction, count: int) -> str:
    """Return the noun for the peers of these connections, and its auxiliary verb."""
    match direction:
        case Direction.INBOUND:
            return "its client has" if count == 1 else "its clients have"
        case Direction.OUTBOUND:
            return "the server has" if count == 1 else "the servers have"
        case Direction.NONE:
            return "the peer has" if count == 1 else "the peers have"
        case _:
            assert_never(direction)


def _detail(key: _ClusterKey, count: int, oldest_seconds: float | None) -> str:
    if oldest_seconds is None:
        state = f"{'is' if count == 1 else 'are'} in CLOSE_WAIT"
    elif count == 1:
        state = f"has been in CLOSE_WAIT for {format_duration(oldest_seconds)}"
    else:
        state = f"are in CLOSE_WAIT, the oldest for {format_duration(oldest_seconds)}"
    return paragraph(f"""
        {plural(count, "connection")} {_location(key)} {state}. {_meaning(key.cause)}
        {_consequence(key.cause, count)}
    """)


def _location(key: _ClusterKey) -> str:
    match key.direction:
        case Direction.INBOUND:
            return f"to its port {key.port}"
        case Direction.OUTBOUND:
            return f"that it opened to port {key.port}"
        case Direction.NONE:
            return f"on its port {key.port}"
        case _:
            assert_never(key.direction)


def _meaning(cause: Cause) -> str:
    """Return what the peer has done, what the program has not done, and whether it knows."""
    match cause:
        case Cause.NOT_ACCEPTED:
            return "The client has closed its side; the program has not even called accept()."
        case Cause.NOT_READ:
            return "The peer has closed its side; the program has not read that far and does not know it."
        case Cause.NOT_CLOSED:
            return paragraph("""
                The peer has closed its side; the program has read everything and has not called close(). A
                request that the program still computes looks the same.
            """)
        case Cause.SENDING:
            return paragraph("""
                The peer has closed its side; the program is still sending: the peer has not acknowledged
                everything, or data was sent in the last minutes. This is not a leak by itself: a connection
                may be closed in one direction and in use in the other.
            """)
        case Cause.UNKNOWN:
            return paragraph("""
                The peer has closed its side; the program has not called close(). This source cannot tell
                whether it has noticed.
            """)
        case _:
            assert_never(cause)


def _consequence(cause: Cause, count: int) -> str:
    subject = "It" if count == 1 else "Each"
    if _takes_descriptor(cause):
        return f"{subject} takes a file descriptor until the program closes it."
    return f"{subject} takes a place in the accept queue until the program accepts it."


_POOL_STEPS: Final = paragraphs("""
    Ignore a few such connections if the program works: its pool keeps idle connections that the server has
    closed, and they do no harm.

    Configure the pool to check connections before use, and to drop idle ones sooner than the server does.
""")
_BLOCKED_STEPS: Final = paragraphs("""
    Look for workers that wait for a disk, a lock or another service, so that none is left to read.
""")


def _steps(key: _ClusterKey, process: ProcessRef, pid: int | None, *, windows: bool) -> tuple[str, ...]:
    """Return the steps. pid: of the process with most of these connections."""
    name, is_outbound = short_name(process), key.direction is Direction.OUTBOUND
    match key.cause:
        case Cause.NOT_ACCEPTED:
            return accept_queue_findings.accept_steps(name)
        case Cause.NOT_READ:
            inspect = _inspect_threads_steps(name, pid, windows=windows)
            return (_POOL_STEPS + inspect if is_outbound else inspect + _BLOCKED_STEPS) + _restart_steps(name)
        case Cause.NOT_CLOSED:
            return (
                _computing_steps(name, is_outbound=is_outbound)
                + _restart_steps(name)
                + _fix_missing_close_steps(is_outbound=is_outbound)
            )
        case Cause.SENDING:
            return paragraphs(f"""
                Check whether the peer reads slowly or not at all, if these connections last.

                Set a send timeout in {name}.
            """)
        case Cause.UNKNOWN:
            check = f"Check whether {name} hangs (it has not noticed) or works (it does not call `close()`)."
            return check, *_restart_steps(name)
        case _:
            assert_never(key.cause)


def _computing_steps(name: str, *, is_outbound: bool) -> tuple[str, ...]:
    """Return the step that tells a leak from a request that is being computed: only a server does that."""
    if is_outbound:
        return ()
    return paragraphs(f"""
        Check that {name} does not still compute responses to these clients: the connections then close when
        it is done, and a restart would abort it.
    """)


def _restart_steps(name: str) -> tuple[str, ...]:
    return paragraphs(f"""
        Restart {name} to free the connections immediately: no timeout and no sysctl ends CLOSE_WAIT. They
        will accumulate again until the program is fixed.
    """)


def _fix_missing_close_steps(*, is_outbound: bool) -> tuple[str, ...]:
    kept = "a response not closed or not read to its end" if is_outbound else "a connection kept in a table"
    return paragraphs(f"""
        Fix the code path that does not call `close()`: {kept}, an error path that skips it, or a forked
        child that still has the socket.
    """)


def _inspect_threads_steps(name: str, pid: int | None, *, windows: bool) -> tuple[str, ...]:
    if windows:
        return paragraphs(f"""
            Find what {name} waits for with Task Manager (Details, Analyze wait chain) or `procdump -ma`.
        """)
    number = "PID" if pid is None else str(pid)
    return paragraphs(f"""
        Find what each thread of {name} waits for: `jstack {number}` (Java), `py-spy dump --pid {number}`
        (Python), `gdb -p {number}` (others).
    """)
