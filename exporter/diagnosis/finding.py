"""Findings: problems of a host, with numbers and advice."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from ..model.close_wait import Cause
from ..model.groups import Direction
from ..model.snapshot import Snapshot
from .thresholds import Levels, Thresholds


class Severity(Enum):
    """Urgency of a finding."""

    CRITICAL = "critical"
    """Something fails now or is about to."""
    WARNING = "warning"
    """Something grows that should not, or a limit is near."""
    NOTE = "note"
    """For information; no action is needed."""


WORST_FIRST: Final = tuple(Severity)


class FindingKind(Enum):
    """Subject of a finding. The values are keys of `explain --json`."""

    CLOSE_WAIT = "close_wait"
    ACCEPT_QUEUE = "accept_queue"
    DESCRIPTORS = "descriptors"
    EPHEMERAL_PORTS = "ephemeral_ports"
    BOUND_PORTS = "bound_ports"
    TIME_WAIT = "time_wait"
    TIME_WAIT_BUCKETS = "time_wait_buckets"
    ORPHANS = "orphans"
    MEMORY = "memory"
    SYN_SENT = "syn_sent"
    SYN_RECV = "syn_recv"
    FIN_WAIT2 = "fin_wait2"
    LISTEN_OVERFLOWS = "listen_overflows"
    TIME_WAIT_OVERFLOWS = "time_wait_overflows"


@dataclass(frozen=True, slots=True)
class ProcessRef:
    """Processes of one name."""

    name: str
    """Value of the label `process`; `unknown` has no pids."""
    pids: tuple[int, ...] = ()
    """The lowest few."""
    more_pids: int = 0
    """Number of further ones."""


@dataclass(frozen=True, slots=True)
class Usage:
    """Usage of a limit."""

    name: str
    """Noun phrase that says of what."""
    used: int
    limit: int
    is_bytes: bool = False

    @property
    def ratio(self) -> float:
        """Ratio of the limit in use: 1.0 is all of it. A limit of 0 counts as 1."""
        return self.used / max(self.limit, 1)


@dataclass(frozen=True, slots=True)
class Finding:
    """A problem of the host. What does not apply is empty or None."""

    kind: FindingKind
    severity: Severity
    title: str
    """A sentence without full stop, which begins with the subject: process and problem."""
    detail: str
    """Sentences with the numbers and the consequence."""
    steps: tuple[str, ...]
    """Sentences with what to do, the most effective first; each is one action."""
    processes: tuple[ProcessRef, ...] = ()
    """The processes concerned, the one with most sockets first."""
    count: int | None = None
    """Number of sockets or events."""
    direction: Direction | None = None
    port: int | None = None
    """Port of the service: the local one of inbound sockets, otherwise the remote one."""
    remote_address: str | None = None
    cause: Cause | None = None
    oldest_seconds: float | None = None
    usage: Usage | None = None
    """Usage of the limit that is concerned."""


@dataclass(frozen=True, slots=True)
class DiagnosisInput:
    """What a diagnosis is made from."""

    snapshot: Snapshot
    with_addresses: bool = True
    """Whether findings contain remote addresses."""
    windows: bool = False
    """Whether the steps are for Windows."""
    thresholds: Thresholds = field(default_factory=Thresholds)


def severity_of(ratio: float, levels: Levels) -> Severity | None:
    """Return the severity of the usage of a limit; None below the warning level."""
    if ratio >= levels.critical:
        return Severity.CRITICAL
    return Severity.WARNING if ratio >= levels.warning else None


def by_urgency(finding: Finding) -> tuple[int, float, int, str]:
    """Return a sort key: worst severity first, then highest usage, then most sockets."""
    ratio = finding.usage.ratio if finding.usage else 0.0
    return WORST_FIRST.index(finding.severity), -ratio, -(finding.count or 0), finding.title
