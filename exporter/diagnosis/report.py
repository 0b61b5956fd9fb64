"""Report on a snapshot: findings, sockets by state, and blind spots."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from ..model.collectors import CollectorName
from ..model.snapshot import Snapshot
from ..model.sockets import LISTEN, STATE_NAMES
from .accept_queue_findings import find_accept_queues
from .blind_spots import BlindSpot, find_blind_spots
from .close_wait_findings import find_close_wait
from .ephemeral_port_findings import find_ephemeral_ports
from .file_descriptor_findings import find_file_descriptors
from .finding import WORST_FIRST, DiagnosisInput, Finding, FindingKind, Severity, Usage, urgency_key
from .formatting import join_and, plural
from .holders import Holder, find_holders
from .host_limit_findings import find_host_limits
from .peer_findings import find_waiting_for_peer
from .windows_findings import find_windows

STATE_DESCRIPTIONS: Final[Mapping[str, str]] = {
    "established": "open",
    "syn_sent": "this host has sent a SYN and got no answer yet",
    "syn_recv": "a client has sent a SYN and not acknowledged the answer yet",
    "fin_wait1": "closed by this host; the peer has not acknowledged it",
    "fin_wait2": "closed by this host; the peer has not closed its side",
    "time_wait": "closed by both sides; the kernel keeps the port for a while",
    "close": "bound to a port, not connected",
    "close_wait": "closed by the peer; the local application has not called close()",
    "last_ack": "closed by both sides; the peer has not acknowledged the last FIN",
    "listen": "waits for connections",
    "closing": "closed by both sides at the same time",
}
"""Value of the label `state` -> meaning."""

NEAR_LIMIT_RATIO: Final = 0.8
"""Usage ratio of a limit from which the summary mentions it, even if nothing needs to be done."""

_FINDERS: Final = (
    find_close_wait,
    find_accept_queues,
    find_file_descriptors,
    find_ephemeral_ports,
    find_waiting_for_peer,
    find_host_limits,
    find_windows,
)

# Findings that report that a limit is near, without the cause.
_GENERIC_KINDS: Final = frozenset({FindingKind.ACCEPT_QUEUE, FindingKind.DESCRIPTORS})


@dataclass(frozen=True, slots=True)
class Report:
    """Diagnosis of a snapshot, ready for rendering."""

    source: str
    """Name of the socket source."""
    findings: Sequence[Finding]
    """Findings, the worst first."""
    states: Mapping[str, int] | None
    """Number of sockets by state, including zeros, in descending order. None if the sockets could not be
    read; `listen` is absent if the listeners could not be read."""
    blind_spots: Sequence[BlindSpot]
    holders: Mapping[str, Sequence[Holder]] = field(default_factory=dict)
    """Processes with most sockets in CLOSE_WAIT and TIME_WAIT, by key of holders.TITLES."""
    time_wait_seconds: float | None = None
    """Duration of TIME_WAIT."""
    windows: bool = False
    """Whether words are those of Windows."""
    is_unfinished: bool = False
    """Whether the collection has not got as far as the owners of the sockets."""

    def count(self, severity: Severity) -> int:
        """Return the number of findings of this severity."""
        return sum(finding.severity is severity for finding in self.findings)

    @property
    def problem_count(self) -> int:
        """Number of findings that are not notes."""
        return sum(finding.severity is not Severity.NOTE for finding in self.findings)

    @property
    def scope(self) -> str:
        """Phrase for the place of the counted sockets: this host or this network namespace."""
        return "on this host" if self.windows else "in this network namespace"

    @property
    def near_limit_count(self) -> int:
        """Number of limits that are nearly reached and only a note, for the reason given there."""
        notes = (finding.usage for finding in self.findings if finding.severity is Severity.NOTE)
        return len({usage for usage in notes if usage and usage.ratio >= NEAR_LIMIT_RATIO})

    @property
    def summary(self) -> str:
        """Sentence with the number of problems."""
        if self.states is None:
            return "The sockets could not be read."
        if self.is_unfinished:
            return "The sockets were counted, but their processes could not be read in time."
        if self.problem_count:
            critical, warnings = self.count(Severity.CRITICAL), self.count(Severity.WARNING)
            counts = {f"{critical} critical": critical, plural(warnings, "warning"): warnings}
            severities = [text for text, count in counts.items() if count]
            return f"{plural(self.problem_count, 'problem')} found: {join_and(severities)}."
        reservations = []
        if near := self.near_limit_count:
            reservations.append(f"{plural(near, 'limit')} {'is' if near == 1 else 'are'} nearly reached")
        if self.blind_spots:
            reservations.append("some data could not be read")
        return f"No problems found, but {join_and(reservations)}." if reservations else "No problems found."


def build_report(data: DiagnosisInput) -> Report:
    """Return the report on a snapshot."""
    snapshot = data.snapshot
    return Report(
        snapshot.source,
        find_problems(data),
        _count_states(snapshot),
        find_blind_spots(data),
        find_holders(snapshot),
        snapshot.limits.time_wait_seconds if snapshot.limits else None,
        data.windows,
        is_unfinished=snapshot.groups is None and snapshot.totals_by_state is not None,
    )


def find_problems(data: DiagnosisInput) -> list[Finding]:
    """Return all findings, the worst first, at most one on each limit."""
    findings = sorted((finding for find in _FINDERS for finding in find(data)), key=urgency_key)
    # A generic finding is redundant only if another one on the same limit has at least its severity: a note
    # does not explain a critical limit.
    explained: set[tuple[Usage | None, str]] = set()
    kept = []
    for severity in WORST_FIRST:
        of_severity = [finding for finding in findings if finding.severity is severity]
        explained |= {_limit_key(finding) for finding in of_severity if finding.kind not in _GENERIC_KINDS}
        kept += [
            finding
            for finding in of_severity
            if finding.kind not in _GENERIC_KINDS or _limit_key(finding) not in explained
        ]
    return kept


def _limit_key(finding: Finding) -> tuple[Usage | None, str]:
    """Return the limit and the processes of a finding."""
    return finding.usage, " ".join(process.name for process in finding.processes)


def _count_states(snapshot: Snapshot) -> Mapping[str, int] | None:
    if snapshot.totals_by_state is not None:
        totals = Counter({STATE_NAMES[state]: count for state, count in snapshot.totals_by_state.items()})
        return dict(totals.most_common())
    if snapshot.groups is None:
        return None
    has_listeners = CollectorName.LISTENERS not in snapshot.failed
    known = (name for state, name in STATE_NAMES.items() if state != LISTEN or has_listeners)
    counts = Counter(dict.fromkeys(known, 0))
    for group, count in snapshot.groups.items():
        counts[STATE_NAMES[group.state]] += count
    return dict(counts.most_common())
