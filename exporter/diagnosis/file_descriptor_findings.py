"""Findings on processes near their limit of file descriptors: each connection takes one."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator

from ..model.process import Owner, ProcessId
from ..model.snapshot import Snapshot
from .finding import DiagnosisInput, Finding, FindingKind, Severity, Usage, severity_of
from .formatting import group_by_name, paragraph, paragraphs, short_name, with_pids_capitalized


def highest_fd_usage(owners: Iterable[Owner], snapshot: Snapshot) -> tuple[ProcessId, Usage] | None:
    """Return the process nearest to its limit, and its usage; None if no limit is known."""
    known = [
        (owner, Usage(f"file descriptors of pid {owner.pid}", fds.open, fds.limit))
        for owner in owners
        if isinstance(owner, ProcessId) and (fds := snapshot.fd_usage.get(owner)) and fds.limit
    ]
    return max(known, key=lambda pair: (pair[1].ratio, -pair[0].pid), default=None)


def is_out_of_fds(owner: ProcessId, snapshot: Snapshot) -> bool:
    """Return whether the process has no file descriptor left: it can neither accept nor open connections."""
    fds = snapshot.fd_usage.get(owner)
    return fds is not None and fds.limit is not None and fds.open >= fds.limit > 0


def find_file_descriptors(data: DiagnosisInput) -> Iterator[Finding]:
    """Yield a finding for each process name with a process near its limit."""
    snapshot, levels = data.snapshot, data.thresholds.descriptors
    by_name: defaultdict[str, list[ProcessId]] = defaultdict(list)
    for owner in snapshot.fd_usage:
        utilized = highest_fd_usage([owner], snapshot)
        if utilized and severity_of(utilized[1].ratio, levels):
            by_name[snapshot.process_name(owner)].append(owner)
    for owners in by_name.values():
        utilized = highest_fd_usage(owners, snapshot)
        if utilized and (severity := severity_of(utilized[1].ratio, levels)):
            yield _build_finding(owners, *utilized, severity, data)


def _build_finding(
    owners: list[ProcessId], worst: ProcessId, usage: Usage, severity: Severity, data: DiagnosisInput
) -> Finding:
    processes = group_by_name(owners, data.snapshot)
    name, is_out = short_name(processes[0]), is_out_of_fds(worst, data.snapshot)
    return Finding(
        kind=FindingKind.DESCRIPTORS,
        severity=severity,
        title=f"{with_pids_capitalized(processes[0])} is {'' if is_out else 'running '}out of file "
        "descriptors",
        detail=paragraph(f"""
            Each connection and each open file takes one. {
            "No descriptor is left: it" if is_out else f"When none is left, {name}"
        } can neither accept nor open connections, and logs `Too many open
            files`.
        """),
        steps=paragraphs(f"""
            List the open files with `ls -l /proc/{worst.pid}/fd`: sockets that are no longer used are a leak.

            Raise the limit if the load is legitimate: `LimitNOFILE=` in the systemd unit, or `ulimit -n`
            before the program starts; it applies from the next start.
        """),
        processes=processes,
        usage=usage,
        is_out_of_fds=is_out,
    )
