"""Findings: problems of a host with numbers and advice, and the input that they are found in."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from ..model.close_wait import Cause
from ..model.groups import Direction
from ..model.privilege import Privilege
from ..model.snapshot import Snapshot
from .thresholds import Levels, Thresholds


class Severity(Enum):
    """Urgency of a finding."""

    CRITICAL = "critical"
    """Something fails now or will fail soon."""
    WARNING = "warning"
    """A number grows that should not, or a limit is near."""
    NOTE = "note"
    """For information; no action is needed."""


WORST_FIRST: Final = tuple(Severity)
"""Severities in descending order."""


class FindingKind(Enum):
    """Subject of a finding. The values are those of `kind` in `explain --json`."""

    CLOSE_WAIT = "close_wait"
    ACCEPT_QUEUE = "accept_queue"
    DESCRIPTORS = "descriptors"
    HANDLES = "handles"
    DEAD_FDS = "dead_fds"
    EPHEMERAL_PORTS = "ephemeral_ports"
    BOUND_PORTS = "bound_ports"
    MAX_USER_PORT = "max_user_port"
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
    """Processes of the same name."""

    name: str
    """Value of the label `process`; `unknown` has no pids."""
    pids: tuple[int, ...] = ()
    """Lowest pids, a few of them."""
    more_pids: int = 0
    """Number of further pids."""
    services: tuple[str, ...] = ()
    """Windows services that run in these processes, in alphabetical order."""


@dataclass(frozen=True, slots=True)
class Usage:
    """Usage of a limit."""

    name: str
    """Noun phrase for what the limit applies to."""
    used: int
    limit: int
    is_bytes: bool = False

    @property
    def ratio(self) -> float:
        """Ratio of `used` to the limit. A limit of 0 counts as 1."""
        return self.used / max(self.limit, 1)


@dataclass(frozen=True, slots=True)
class Finding:
    """Problem of the host. Fields that do not apply are empty or None."""

    kind: FindingKind
    severity: Severity
    title: str
    """Sentence of process and problem, which begins with the subject, without full stop."""
    detail: str
    """Sentences with numbers and the consequence."""
    steps: tuple[str, ...]
    """Imperative sentences of one action each, the most effective first."""
    processes: tuple[ProcessRef, ...] = ()
    """Processes concerned, the one with most sockets first."""
    count: int | None = None
    """Number of sockets or events."""
    direction: Direction | None = None
    port: int | None = None
    """Port of the service: the remote port of outbound connections, otherwise the local port."""
    remote_address: str | None = None
    cause: Cause | None = None
    oldest_seconds: float | None = None
    """Age of the oldest socket: a lower bound."""
    oldest_at_most_seconds: float | None = None
    """Upper bound of that age, if keepalive makes the lower bound smaller than the age."""
    opened_seconds: float | None = None
    """Time since the first of the connections was opened: upper bound of the age, where it is known."""
    dead_fds: int | None = None
    """Number of dead file descriptors (model/dead_fds.py), which `count` does not include."""
    usage: Usage | None = None
    """Usage of the limit that is concerned."""
    is_out_of_fds: bool = False
    """Whether the process can neither accept nor open connections: other findings follow from that."""


@dataclass(frozen=True, slots=True)
class DiagnosisInput:
    """Input of a diagnosis."""

    snapshot: Snapshot
    with_addresses: bool = True
    """Whether findings contain remote addresses."""
    windows: bool = False
    """Whether words and steps are those of Windows."""
    thresholds: Thresholds = field(default_factory=Thresholds)
    privilege: Privilege = Privilege.NONE
    """Privilege of the exporter: advice to get one that it has would be wrong."""


def severity_of(ratio: float, levels: Levels) -> Severity | None:
    """Return the severity for the usage ratio of a limit; None below the warning level."""
    if ratio >= levels.critical:
        return Severity.CRITICAL
    return Severity.WARNING if ratio >= levels.warning else None


def urgency_key(finding: Finding) -> tuple[int, bool, float, int, str]:
    """Return a sort key.

    The worst severity comes first, then processes without file descriptors, which explain full accept
    queues, then the highest usage, then most sockets.
    """
    ratio = finding.usage.ratio if finding.usage else 0.0
    count = (finding.count or 0) + (finding.dead_fds or 0)
    severity = WORST_FIRST.index(finding.severity)
    return severity, not finding.is_out_of_fds, -ratio, -count, finding.title
