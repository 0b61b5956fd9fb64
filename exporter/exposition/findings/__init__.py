"""What on this host deserves attention, from one look: who, what, how near to a limit, what to do. Pure."""

from __future__ import annotations

from typing import Final

from . import accept_queues, capacity, close_wait, descriptors, ports, unanswered
from .finding import WORST_FIRST, Finding, Kind, Scope, Usage, by_urgency

_FINDERS: Final = (
    close_wait.find,
    accept_queues.find,
    descriptors.find,
    ports.find,
    unanswered.find,
    capacity.find,
)

# That a limit is near is told by those that know why, where there are any.
_BARE: Final = frozenset({Kind.ACCEPT_QUEUE, Kind.DESCRIPTORS})


def find(scope: Scope) -> list[Finding]:
    """All findings, the worst first. Each limit is told of once."""
    found = sorted((one for finder in _FINDERS for one in finder(scope)), key=by_urgency)
    # Only what is at least as urgent makes it needless: a note explains no critical limit.
    told: set[tuple[Usage | None, str]] = set()
    kept = []
    for severity in WORST_FIRST:
        of_severity = [one for one in found if one.severity is severity]
        told |= {_limit(one) for one in of_severity if one.kind not in _BARE}
        kept += [one for one in of_severity if one.kind not in _BARE or _limit(one) not in told]
    return kept


def _limit(finding: Finding) -> tuple[Usage | None, str]:
    """Which limit of whom a finding is about."""
    return finding.near, " ".join(who.name for who in finding.processes)
