"""What a finding is: something on this host that deserves attention, with its figures and advice."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from ...model.close_wait import Cause
from ...model.groups import Direction
from ...model.snapshot import Snapshot
from .thresholds import Levels, Thresholds


class Severity(Enum):
    """How urgent a finding is."""

    CRITICAL = "critical"
    """Something fails now, or soon will."""
    WARNING = "warning"
    """Something grows that should not, or comes near to a limit."""
    NOTE = "note"
    """Good to know; nothing has to be done."""


WORST_FIRST: Final = tuple(Severity)


class Kind(Enum):
    """What a finding is about. The values are keys of `explain --json`: they stay."""

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
class Who:
    """Processes of one name. `name` is that of the label `process`; `unknown` has no pids."""

    name: str
    pids: tuple[int, ...] = ()
    """The lowest few."""
    more: int = 0
    """How many further ones there are."""


@dataclass(frozen=True, slots=True)
class Usage:
    """How much of a limit is used up."""

    name: str
    """Of the limit, in words."""
    used: int
    limit: int
    is_bytes: bool = False

    @property
    def ratio(self) -> float:
        """1.0 is all of it; a limit of 0 counts as 1."""
        return self.used / max(self.limit, 1)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing worth an operator's time. What does not apply is empty or None."""

    kind: Kind
    severity: Severity
    title: str
    """One line: who, and what is wrong."""
    detail: str
    """The figures, and what they mean for somebody who sees such sockets for the first time."""
    advice: tuple[str, ...]
    """What to do, the best first."""
    processes: tuple[Who, ...] = ()
    """Those concerned, the one with most sockets first."""
    count: int | None = None
    direction: Direction | None = None
    port: int | None = None
    """The service's: the local one for inbound sockets, else the remote one."""
    remote_address: str | None = None
    cause: Cause | None = None
    oldest_seconds: float | None = None
    near: Usage | None = None
    """The limit that it comes near to."""


@dataclass(frozen=True, slots=True)
class Scope:
    """What findings are made from."""

    seen: Snapshot
    with_addresses: bool = True
    """Whether remote addresses may be named."""
    windows: bool = False
    """Whether the advice is for Windows."""
    thresholds: Thresholds = field(default_factory=Thresholds)


def severity_of(ratio: float, levels: Levels) -> Severity | None:
    """How urgent so much of a limit is; None for what is far from it."""
    if ratio >= levels.critical:
        return Severity.CRITICAL
    return Severity.WARNING if ratio >= levels.warning else None


def by_urgency(finding: Finding) -> tuple[int, float, int, str]:
    """A sort key: the worst first, then those nearest to a limit, then the most sockets."""
    ratio = finding.near.ratio if finding.near else 0.0
    return WORST_FIRST.index(finding.severity), -ratio, -(finding.count or 0), finding.title
