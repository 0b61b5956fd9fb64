"""Helpers for tests of findings."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from exporter.diagnosis.finding import DiagnosisInput, Finding, FindingKind, Severity
from exporter.diagnosis.report import find_problems
from exporter.model.host import FdUsage, SysctlLimits
from exporter.model.process import ProcessId
from exporter.model.snapshot import Snapshot
from exporter.model.sockets import TIME_WAIT

from ..snapshots import LOOPBACK, PRINTD, QUIET, make_snapshot, outbound

NOTE: Final = Severity.NOTE
WARNING: Final = Severity.WARNING
CRITICAL: Final = Severity.CRITICAL


def kinds(snapshot: Snapshot, **options: Any) -> list[tuple[FindingKind, Severity]]:
    """Return kind and severity of each finding."""
    return [
        (finding.kind, finding.severity) for finding in find_problems(DiagnosisInput(snapshot, **options))
    ]


def only_finding(snapshot: Snapshot, **options: Any) -> Finding:
    """Return the finding of a snapshot that has exactly one."""
    (finding,) = find_problems(DiagnosisInput(snapshot, **options))
    return finding


def quiet_limits(**changes: Any) -> SysctlLimits:
    """Return the limits of QUIET with these changes."""
    assert QUIET.limits
    return replace(QUIET.limits, **changes)


def descriptors_in_use(
    owner: ProcessId = PRINTD, used: int = 900, limit: int = 1000
) -> dict[ProcessId, FdUsage]:
    """Return a process that uses `used` of its file descriptors."""
    return {owner: FdUsage(used, limit)}


def near_limit_snapshot() -> Snapshot:
    """Return a host with 94 % of the ports to one destination in use, all of which the kernel can reuse."""
    return make_snapshot(outbound(TIME_WAIT, 26_600, address=LOOPBACK, source=LOOPBACK))
