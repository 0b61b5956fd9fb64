"""Processes near their limit of file descriptors: each connection takes one."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator

from ...model.process import Owner, ProcessId
from ...model.snapshot import Snapshot
from .finding import Finding, Kind, Scope, Severity, Usage, severity_of
from .words import it, paragraph, paragraphs, subject, who


def worst(owners: Iterable[Owner], seen: Snapshot) -> tuple[ProcessId, Usage] | None:
    """Of these the one nearest to its limit; None where no limit is known."""
    known = [
        (owner, Usage(f"file descriptors of pid {owner.pid}", has.open, has.limit))
        for owner in owners
        if isinstance(owner, ProcessId) and (has := seen.descriptors.get(owner)) and has.limit
    ]
    return max(known, key=lambda each: (each[1].ratio, -each[0].pid), default=None)


def find(scope: Scope) -> Iterator[Finding]:
    """A finding for each name with a process near its limit."""
    by_name: defaultdict[str, list[ProcessId]] = defaultdict(list)
    for owner in scope.seen.descriptors:
        near = worst([owner], scope.seen)
        if near and severity_of(near[1].ratio, scope.thresholds.descriptors):
            by_name[scope.seen.process_name(owner)].append(owner)
    for owners in by_name.values():
        near = worst(owners, scope.seen)
        if near and (severity := severity_of(near[1].ratio, scope.thresholds.descriptors)):
            yield _finding(owners, near, severity, scope)


def _finding(
    owners: list[ProcessId], worst: tuple[ProcessId, Usage], severity: Severity, scope: Scope
) -> Finding:
    processes = who(owners, scope.seen)
    name, (owner, near) = it(processes[0]), worst
    return Finding(
        kind=Kind.DESCRIPTORS,
        severity=severity,
        title=f"{subject(processes[0])} runs out of file descriptors",
        detail=paragraph(f"""
            Every connection and every open file takes one. With none left, {name}
            can neither accept nor open a connection, and logs `Too many open files`.
        """),
        advice=paragraphs(f"""
            See what they are: `ls -l /proc/{owner.pid}/fd`. Sockets that nobody uses any more are a leak.

            If the load is real, raise the limit: `LimitNOFILE=` in the systemd unit, or `ulimit -n` before
            the program starts. It holds from the next start on.
        """),
        processes=processes,
        near=near,
    )
