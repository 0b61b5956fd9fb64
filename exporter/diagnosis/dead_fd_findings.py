"""Findings on dead file descriptors of processes that have no connections in CLOSE_WAIT."""

from __future__ import annotations

from collections.abc import Iterator

from ..model.process import Owner, ProcessId
from . import close_wait_texts, dead_fd_texts
from .finding import DiagnosisInput, Finding, FindingKind, ProcessRef, Severity, severity_of
from .formatting import group_by_name, paragraph, paragraphs, plural, short_name, with_pids_capitalized
from .inspection import fix_missing_close_steps, restart_steps
from .leaks import DeadFds, FdLimit, limit_of


def find_dead_fds(dead: DeadFds, data: DiagnosisInput) -> Iterator[Finding]:
    """Yield the finding on the dead file descriptors of one process name, if they are many or old."""
    owners = dead.by_owner()
    limit = limit_of(owners, {}, owners, data.snapshot)
    if severity := _rate(dead, limit, data):
        yield _build_finding(dead, limit, severity, data)


def _rate(dead: DeadFds, limit: FdLimit | None, data: DiagnosisInput) -> Severity | None:
    """Return the severity; None if working programs have such file descriptors as well.

    Those whose connection was observed are a leak. The others possibly are not: they count as one only if
    file descriptors run out.
    """
    thresholds = data.thresholds
    old_count = dead.lost_older_than(thresholds.close_wait_old_seconds)
    if limit and limit.is_exhausted(thresholds):
        is_observed = dead.lost_count * 2 >= dead.count
        return Severity.CRITICAL if is_observed else severity_of(limit.usage.ratio, thresholds.descriptors)
    if old_count >= thresholds.close_wait_many:
        return Severity.CRITICAL
    if dead.lost_count >= thresholds.close_wait_many or old_count >= thresholds.close_wait_few:
        return Severity.WARNING
    return Severity.NOTE if old_count or dead.count >= thresholds.close_wait_many else None


def _build_finding(dead: DeadFds, limit: FdLimit | None, severity: Severity, data: DiagnosisInput) -> Finding:
    owners: dict[Owner, int] = dict(dead.by_owner().most_common())
    processes = group_by_name(owners, data.snapshot)
    pid = next((owner.pid for owner in owners if isinstance(owner, ProcessId)), None)
    is_near = limit is not None and limit.is_exhausted(data.thresholds)
    return Finding(
        kind=FindingKind.DEAD_FDS,
        severity=severity,
        title=_title(dead, processes[0], limit if is_near else None),
        detail=_detail(dead, limit if is_near else None),
        steps=_steps(dead, processes[0], limit.owner.pid if limit and is_near else pid, is_near=is_near),
        processes=processes,
        oldest_seconds=dead.oldest_lost_seconds,
        dead_fds=dead.count,
        usage=limit.usage if limit else None,
        is_out_of_fds=is_near and limit is not None and limit.is_reached,
    )


def _title(dead: DeadFds, process: ProcessRef, limit: FdLimit | None) -> str:
    """Return the title. limit: the limit of file descriptors if it is nearly reached."""
    if limit is None:
        return f"{with_pids_capitalized(process)} has {plural(dead.count, 'dead file descriptor')}"
    concerned = ProcessRef(process.name, (limit.owner.pid,))
    running = "" if limit.is_reached else "running "
    verb, noun = ("is a", "socket") if limit.leaked == 1 else ("are", "sockets")
    return (
        f"{with_pids_capitalized(concerned)} is {running}out of file descriptors: "
        f"{limit.leaked:,} of {limit.usage.used:,} {verb} TCP {noun} without a connection"
    )


def _detail(dead: DeadFds, limit: FdLimit | None) -> str:
    consequence = "It takes" if dead.count == 1 else "Each takes"
    near, guess = "", ""
    if limit:
        near = close_wait_texts.limit_consequence(limit)
        if dead.lost_count * 2 < dead.count:
            guess = "Probably the program does not close connections that have ended."
    return paragraph(f"""
        {near} {dead_fd_texts.describe(dead, further=False)} {consequence} a file descriptor until the program
        calls close(). {guess}
    """)


def _steps(dead: DeadFds, process: ProcessRef, pid: int | None, *, is_near: bool) -> tuple[str, ...]:
    name = short_name(process)
    listing = paragraphs(f"""
        List them with `sudo lsof -nP -p {"PID" if pid is None else pid}`: they have `protocol: TCP` or
        `MPTCP` in place of addresses.
    """)
    check = paragraphs("""
        Check in a few minutes whether there are more: a leak grows, sockets that were never connected do not.
    """)
    leak = restart_steps(name) + fix_missing_close_steps(is_outbound=None)
    if dead.lost_count:
        return listing + leak
    return listing + check + (leak if is_near else ())
