"""Findings on CLOSE_WAIT: the peer has closed, the local program has not.

The state ends when the program closes. With keepalive it also ends when the peer answers a probe by a reset;
the file descriptor then stays open, and is dead (see leaks.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final, assert_never

from ..model.close_wait import Cause
from ..model.groups import Direction
from ..model.process import Owner, ProcessId
from . import accept_queue_findings, close_wait_texts, dead_fd_findings, windows_steps
from .finding import DiagnosisInput, Finding, FindingKind, ProcessRef, Severity
from .formatting import group_by_name, paragraphs, short_name, with_pids_capitalized
from .inspection import fix_missing_close_steps, inspect_threads_steps, restart_steps
from .leaks import Leak, collect_leaks, takes_descriptor

_Queues = Mapping[tuple[str, int], accept_queue_findings.QueueUsage]


def find_close_wait(data: DiagnosisInput) -> Iterator[Finding]:
    """Yield a finding for each process, port, direction and cause with old or many connections.

    The dead file descriptors of a process are part of the finding with most of its connections. If it has no
    connections in CLOSE_WAIT, they have a finding of their own.
    """
    leaks, dead = collect_leaks(data.snapshot)
    queues = accept_queue_findings.most_utilized_queue(data.snapshot)
    for leak in leaks:
        if severity := _rate_with_all_causes(leak, queues, data):
            yield _build_finding(leak, severity, queues, data)
    for fds in dead.values():
        yield from dead_fd_findings.find_dead_fds(fds, data)


def _rate_with_all_causes(leak: Leak, queues: _Queues, data: DiagnosisInput) -> Severity | None:
    """Return the severity of the leak, or that of all causes together if that is a problem."""
    severity = _rate(leak, queues, data)
    together = _rate(leak.with_all_causes(), queues, data) if leak.other_causes else None
    return together if together in (Severity.CRITICAL, Severity.WARNING) else severity


def _rate(leak: Leak, queues: _Queues, data: DiagnosisInput) -> Severity | None:
    """Return the severity; None if working programs have such connections as well."""
    thresholds, limit = data.thresholds, leak.limit
    old_count = leak.older_than(thresholds.close_wait_old_seconds)
    is_many = leak.count + leak.dead.lost_count >= thresholds.close_wait_many
    if leak.key.cause is Cause.SENDING:
        # No fault of the program. A limit of descriptors that is nearly reached is a finding of its own.
        return Severity.NOTE if old_count or is_many else None
    if leak.is_main and limit and limit.is_nearly_reached(thresholds):
        return Severity.CRITICAL  # at any age: nothing is left to wait for
    doubtful = _rate_doubtful(leak, data)
    if not old_count and not is_many:
        return doubtful
    match leak.key.cause:
        case Cause.NOT_ACCEPTED:
            min_old = 1  # A client that has waited a minute for accept() is not served, nor will others be.
            queue = queues.get((leak.key.name, leak.key.port))
            exhausts_limit = queue is not None and queue.is_full
        case Cause.NOT_READ | Cause.NOT_CLOSED | Cause.UNKNOWN:
            min_old = thresholds.close_wait_few
            exhausts_limit = limit is not None and limit.is_exhausted(thresholds)
        case _:
            assert_never(leak.key.cause)
    if exhausts_limit or old_count >= thresholds.close_wait_many:
        return Severity.CRITICAL
    return Severity.WARNING if is_many or old_count >= min_old else doubtful or Severity.NOTE


def _rate_doubtful(leak: Leak, data: DiagnosisInput) -> Severity | None:
    """Return the severity of what is possibly a leak: dead file descriptors, and connections with keepalive.

    Such connections are possibly older than they look. Dead file descriptors whose connections were not
    observed are no evidence alone: they are a note, unless file descriptors run out. Together with
    connections that keepalive ends they are evidence: a working program has neither. Where probes are sent
    every few seconds, few connections are in CLOSE_WAIT at a time, and many file descriptors are dead.

    Connections whose age is unknown are a note if they were opened long ago: possibly they are that old.
    """
    thresholds, few = data.thresholds, data.thresholds.close_wait_few
    if leak.dead.count and leak.limit and leak.limit.is_exhausted(thresholds):
        return Severity.WARNING
    if leak.kept_alive_for(0.0) >= few and leak.dead.count >= few:
        return Severity.WARNING
    if leak.kept_alive_for(0.0) and leak.dead.count >= thresholds.close_wait_many:
        return Severity.WARNING
    is_possible = (leak.oldest_at_most_seconds or 0.0) >= thresholds.close_wait_old_seconds
    if is_possible and leak.kept_alive_for(thresholds.close_wait_linger_seconds) >= few:
        return Severity.WARNING
    if is_possible and leak.kept_alive_for(0.0) >= few:
        return Severity.NOTE
    if leak.opened_before(thresholds.close_wait_old_seconds) >= few:
        return Severity.NOTE
    return Severity.NOTE if leak.dead.count >= thresholds.close_wait_many else None


def _build_finding(leak: Leak, severity: Severity, queues: _Queues, data: DiagnosisInput) -> Finding:
    key, owners = leak.key, leak.owners()
    processes = group_by_name(owners, data.snapshot)
    main = next((owner for owner, _ in owners.most_common() if isinstance(owner, ProcessId)), None)
    is_headline = _is_headline(leak, severity, data)
    usage, master = leak.limit.usage if leak.limit else None, ""
    if takes_descriptor(key.cause):
        steps = _steps(leak, processes[0], main, data)
    else:
        queue = queues.get((key.name, key.port))
        listener_owners: set[Owner] = queue.owners if queue else set(owners)
        usage = queue.usage if queue else None
        steps = accept_queue_findings.accept_steps(processes[0], listener_owners, data)
        master = accept_queue_findings.describe_master(listener_owners, data.snapshot)
    return Finding(
        kind=FindingKind.CLOSE_WAIT,
        severity=severity,
        title=_title(leak, processes[0], is_headline=is_headline),
        detail=close_wait_texts.detail(leak, is_headline=is_headline, master=master, windows=data.windows),
        steps=steps,
        processes=processes,
        count=leak.count,
        direction=key.direction,
        port=key.port,
        cause=key.cause,
        oldest_seconds=leak.oldest_seconds,
        oldest_at_most_seconds=leak.oldest_at_most_seconds,
        opened_seconds=leak.opened_seconds,
        dead_fds=leak.dead.count or None,
        usage=usage,
        is_out_of_fds=is_headline and leak.limit is not None and leak.limit.is_reached,
    )


def _is_headline(leak: Leak, severity: Severity, data: DiagnosisInput) -> bool:
    """Return whether the limit of file descriptors is the problem, and the connections are its cause."""
    is_near = leak.limit is not None and leak.limit.is_nearly_reached(data.thresholds)
    return is_near and leak.is_main and severity is Severity.CRITICAL


def _title(leak: Leak, process: ProcessRef, *, is_headline: bool) -> str:
    if not is_headline or leak.limit is None:
        return f"{with_pids_capitalized(process)} {close_wait_texts.title_predicate(leak)}"
    concerned = ProcessRef(process.name, (leak.limit.owner.pid,))
    return f"{with_pids_capitalized(concerned)} {close_wait_texts.exhaustion_predicate(leak.limit)}"


_POOL_STEPS: Final = paragraphs("""
    Ignore a few such connections if the program works: its pool keeps idle connections that the server has
    closed, and they do no harm.

    Configure the pool to check connections before use, and to drop idle ones sooner than the server does.
""")
_BLOCKED_STEPS: Final = paragraphs("""
    Look for workers that wait for a disk, a lock or another service, so that none is left to read.
""")


def _steps(leak: Leak, process: ProcessRef, main: ProcessId | None, data: DiagnosisInput) -> tuple[str, ...]:
    """Return the steps. main: process with most of these connections."""
    name, is_outbound = short_name(process), leak.key.direction is Direction.OUTBOUND
    pid = main.pid if main else None
    if data.windows:
        services = data.snapshot.services.get(main, ()) if main else ()
        is_shared = main is not None and main.service != ""
        restart = windows_steps.restart_steps(name, pid, services, is_shared=is_shared)
    else:
        restart = restart_steps(name)
    match leak.key.cause:
        case Cause.NOT_ACCEPTED:
            return ()  # those of the accept queue
        case Cause.NOT_READ:
            inspect = inspect_threads_steps(name, pid, windows=data.windows)
            return (_POOL_STEPS + inspect if is_outbound else inspect + _BLOCKED_STEPS) + restart
        case Cause.NOT_CLOSED:
            return (
                _computing_steps(name, is_outbound=is_outbound)
                + restart
                + fix_missing_close_steps(is_outbound=is_outbound)
            )
        case Cause.SENDING:
            return paragraphs(f"""
                Check whether the peer reads slowly or not at all, if these connections last.

                Set a send timeout in {name}.
            """)
        case Cause.UNKNOWN if data.windows:
            return windows_steps.check_steps(name) + restart
        case Cause.UNKNOWN:
            check = f"Check whether {name} hangs (it has not noticed) or works (it does not call `close()`)."
            return check, *restart
        case _:
            assert_never(leak.key.cause)


def _computing_steps(name: str, *, is_outbound: bool) -> tuple[str, ...]:
    """Return the step that tells a leak from a request that is being computed: only a server does that."""
    if is_outbound:
        return ()
    return paragraphs(f"""
        Check that {name} does not still compute responses to these clients: the connections then close when
        it is done, and a restart would abort it.
    """)
