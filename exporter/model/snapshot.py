"""Snapshot of a host's sockets: the result of one collection, from which metrics and findings are made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from .close_wait import ClassifiedCloseWait
from .collectors import MEASURED_COLLECTORS, CollectorName
from .groups import SocketGroup
from .host import FdUsage, KernelCounters, SysctlLimits
from .process import UNKNOWN_PROCESS, Owner, ProcessId
from .sockets import Listener


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What one collection found. None stands for what could not be read or was not requested."""

    groups: Mapping[SocketGroup, int] | None
    """Number of sockets by group, listeners included."""
    listeners: Sequence[tuple[Listener, Owner]] | None
    names: Mapping[Owner, str]
    """Name of each owner's process. Unowned sockets have no name."""
    unreadable: Mapping[str, int]
    """Number of processes whose file descriptors could not be read, by reason."""
    unresolved_reason: str
    """Why sockets have no known owner: a value of the label `reason`."""
    durations: Mapping[CollectorName, float]
    """Duration of each collector."""
    failed: frozenset[CollectorName]
    close_wait: Sequence[ClassifiedCloseWait] | None = None
    queues: Mapping[SocketGroup, tuple[int, int]] | None = None
    """Unread and unacknowledged bytes by group."""
    max_bound_ports: int | None = None
    """Number of distinct ephemeral ports in use on the local address with most of them."""
    limits: SysctlLimits | None = None
    counters: KernelCounters | None = None
    fd_usage: Mapping[ProcessId, FdUsage] = field(default_factory=dict)
    totals_by_state: Mapping[int, int] | None = None
    """Number of sockets by state, if `groups` are not known yet: of an unfinished collection."""
    source: str = ""
    """Name of the socket source, such as `netlink`; empty in the snapshot of an unfinished collection."""

    def process_name(self, owner: Owner) -> str:
        """Return the name of the owner's process, or UNKNOWN_PROCESS."""
        return self.names.get(owner, UNKNOWN_PROCESS)


class PartialSnapshot(NamedTuple):
    """What an unfinished collection has found so far."""

    started_at: float
    """Seconds of the monotonic clock."""
    snapshot: Snapshot
    """Collectors that have not finished count as failed."""


def unfinished_snapshot(
    durations: Mapping[CollectorName, float] | None = None,
    limits: SysctlLimits | None = None,
    counters: KernelCounters | None = None,
    totals: Mapping[int, int] | None = None,
) -> Snapshot:
    """Return the snapshot of a collection of which only these results are known."""
    durations = durations or {}
    return Snapshot(
        groups=None,
        listeners=None,
        names={},
        unreadable={},
        unresolved_reason="not_found",
        durations=durations,
        failed=MEASURED_COLLECTORS - durations.keys(),
        limits=limits,
        counters=counters,
        totals_by_state=totals,
    )


def empty_partial_snapshot(started_at: float) -> PartialSnapshot:
    """Return the snapshot of a collection that has just started, at this time of the monotonic clock."""
    return PartialSnapshot(started_at, unfinished_snapshot())
