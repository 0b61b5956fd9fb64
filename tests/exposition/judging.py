"""What the tests of findings share."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from exporter.exposition.findings import find
from exporter.exposition.findings.finding import Finding, Kind, Scope, Severity
from exporter.model.host import FdUsage, SysctlLimits
from exporter.model.process import ProcessId
from exporter.model.snapshot import Snapshot

from .looks import PRINTD, QUIET

NOTE: Final = Severity.NOTE
WARNING: Final = Severity.WARNING
CRITICAL: Final = Severity.CRITICAL


def found(seen: Snapshot, **scope: Any) -> list[tuple[Kind, Severity]]:
    """The findings in short."""
    return [(finding.kind, finding.severity) for finding in find(Scope(seen, **scope))]


def only(seen: Snapshot, **scope: Any) -> Finding:
    """The one finding there is."""
    (finding,) = find(Scope(seen, **scope))
    return finding


def limits(**changes: Any) -> SysctlLimits:
    """The limits of the quiet host, but for these."""
    assert QUIET.limits
    return replace(QUIET.limits, **changes)


def nearly_out(owner: ProcessId = PRINTD, used: int = 900) -> dict[ProcessId, FdUsage]:
    """A process with so many of 1,000 descriptors."""
    return {owner: FdUsage(used, 1000)}
