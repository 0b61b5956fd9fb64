"""What one look means for an operator: findings, counts by state, and what could not be seen."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..model.collectors import CollectorName
from ..model.snapshot import Snapshot
from ..model.sockets import LISTEN, STATE_NAMES
from .blind_spots import BlindSpot, blind_spots
from .findings import find
from .findings.finding import Finding, Scope, Severity
from .findings.words import listed, plural

MEANINGS: Mapping[str, str] = {
    "established": "open",
    "syn_sent": "this side called, no answer yet",
    "syn_recv": "somebody called, and has not confirmed yet",
    "fin_wait1": "this side closed, the other has not confirmed yet",
    "fin_wait2": "this side closed, the other has not",
    "time_wait": "both closed; the port is kept for a while",
    "close": "bound to a port, not connected",
    "close_wait": "the other side closed, this one has not",
    "last_ack": "both closed, the last packet is not confirmed yet",
    "listen": "waits for connections",
    "closing": "both closed at the same moment",
}
"""The states in a few words, by the value of the label `state`."""


@dataclass(frozen=True, slots=True)
class Report:
    """A look, made ready to be shown."""

    findings: Sequence[Finding]
    """The worst first."""
    states: Mapping[str, int] | None
    """Sockets by state, zeros included, the most first; None where they could not be read, and without
    `listen` where listeners could not."""
    blind_spots: Sequence[BlindSpot]

    def number(self, severity: Severity) -> int:
        """How many findings are so urgent."""
        return sum(finding.severity is severity for finding in self.findings)

    @property
    def urgent(self) -> int:
        """How many findings are more than notes."""
        return sum(finding.severity is not Severity.NOTE for finding in self.findings)

    @property
    def verdict(self) -> str:
        """One sentence: whether there is something to worry about."""
        if self.states is None:
            return "The sockets could not be read."
        if self.urgent:
            critical, warnings = self.number(Severity.CRITICAL), self.number(Severity.WARNING)
            counts = {f"{critical} critical": critical, plural(warnings, "warning"): warnings}
            urgent = [words for words, count in counts.items() if count]
            return f"{plural(self.urgent, 'thing')} to worry about: {listed(urgent)}."
        if self.blind_spots:
            return "Nothing to worry about, as far as could be seen."
        return "Nothing to worry about."


def report(scope: Scope) -> Report:
    """What this look means."""
    return Report(find(scope), _states(scope.seen), blind_spots(scope.seen))


def _states(seen: Snapshot) -> Mapping[str, int] | None:
    if seen.groups is None:
        return None
    known = (
        name
        for state, name in STATE_NAMES.items()
        if state != LISTEN or CollectorName.LISTENERS not in seen.failed
    )
    counts = Counter(dict.fromkeys(known, 0))
    for group, count in seen.groups.items():
        counts[STATE_NAMES[group.state]] += count
    return dict(counts.most_common())
