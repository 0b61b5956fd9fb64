"""Findings that only Windows has: processes with many handles, and MaxUserPort in the registry."""

from __future__ import annotations

from collections.abc import Iterator

from ..model.process import ProcessId
from ..model.snapshot import Snapshot
from ..model.sockets import TIME_WAIT
from .finding import DiagnosisInput, Finding, FindingKind, Severity
from .formatting import group_by_name, paragraph, paragraphs, plural, short_name, with_pids_capitalized
from .windows_steps import format_port_range


def find_windows(data: DiagnosisInput) -> Iterator[Finding]:
    """Yield a note for each process with many handles, and one for MaxUserPort."""
    handles = data.snapshot.handle_counts or {}
    for owner, count in handles.items():
        if count >= data.thresholds.handles_many:
            yield _build_handles(owner, count, data.snapshot)
    yield from _find_max_user_port(data.snapshot)


def _build_handles(process: ProcessId, count: int, snapshot: Snapshot) -> Finding:
    processes = group_by_name([process], snapshot)
    sockets = sum(
        group_count
        for group, group_count in (snapshot.groups or {}).items()
        if isinstance(group.owner, ProcessId) and group.owner.pid == process.pid and group.state != TIME_WAIT
    )
    return Finding(
        kind=FindingKind.HANDLES,
        severity=Severity.NOTE,
        title=f"{with_pids_capitalized(processes[0])} has {plural(count, 'handle')} open",
        detail=paragraph(f"""
            {plural(sockets, "TCP socket")} {"is" if sockets == 1 else "are"} among them. Windows has no limit
            to compare with: more than 3,000 handles are suspicious, and more than 10,000 are typical of a
            process that leaks them until outbound connections fail.
        """),
        steps=paragraphs(f"""
            Check whether the number grows, with Task Manager (Details, column Handles) or in Prometheus with
            `socket_process_open_handles`: a leak does not stop.

            Restart {short_name(processes[0])} if it does.

            Report the leak to its vendor.
        """),
        processes=processes,
        count=count,
    )


def _find_max_user_port(snapshot: Snapshot) -> Iterator[Finding]:
    """Yield a note if MaxUserPort is set to another port than the last one of the dynamic range."""
    limits = snapshot.limits
    if limits is None or limits.max_user_port is None or limits.ephemeral is None:
        return
    if limits.max_user_port == limits.ephemeral.high:
        return
    yield Finding(
        kind=FindingKind.MAX_USER_PORT,
        severity=Severity.NOTE,
        title=f"The host has `MaxUserPort` {limits.max_user_port} in its registry, which is not the end of "
        "its dynamic port range",
        detail=paragraph(f"""
            The range is {format_port_range(limits.ephemeral, limits)}, and this report counts with it.
            Before Windows Vista `MaxUserPort` was the last port; whether a later release applies it is not
            documented. If this one does, there are other ports than reported.
        """),
        steps=paragraphs(r"""
            Remove `MaxUserPort` from `HKLM\SYSTEM\CurrentControlSet\Services\Tcpip\Parameters` if no old
            program needs it.

            Set the range as administrator with `netsh int ipv4 set dynamicport tcp` if more ports are needed.
        """),
    )
