"""Snapshot of a host's sockets: the result of one collection, and the input of metrics and diagnosis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from .close_wait import ClassifiedCloseWait
from .collectors import MEASURED_COLLECTORS, CollectorName
from .dead_fds import DeadFd
from .groups import SocketGroup
from .host import FdUsage, KernelCounters, SysctlLimits
from .process import UNKNOWN_PROCESS, Owner, ProcessId
from .sockets import Listener


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Result of one collection. None means that the data could not be read or the collector is disabled."""

    groups: Mapping[SocketGroup, int] | None
    """Number of sockets by group, listeners included."""
    listeners: Sequence[tuple[Listener, Owner]] | None
    names: Mapping[Owner, str]
    """Owner -> name of its process. Only processes have names."""
    unreadable_processes: Mapping[str, int]
    """Number of processes whose file descriptors were not readable, by value of the label `reason`."""
    unresolved_reason: str
    """Most likely reason why owners are Unowned.NOT_FOUND: a value of the label `reason`."""
    durations: Mapping[CollectorName, float]
    """Seconds that each collector took; those that did not run are absent."""
    failed: frozenset[CollectorName]
    """Collectors that failed, at least in part."""
    close_wait: Sequence[ClassifiedCloseWait] | None = None
    queue_bytes: Mapping[SocketGroup, tuple[int, int]] | None = None
    """(receive queue, send queue) by group: bytes unread and bytes unacknowledged."""
    max_bound_ports: int | None = None
    """Number of distinct ephemeral ports in use on the local address with most of them."""
    limits: SysctlLimits | None = None
    counters: KernelCounters | None = None
    fd_usage: Mapping[ProcessId, FdUsage] = field(default_factory=dict)
    handle_counts: Mapping[ProcessId, int] | None = None
    """Number of open handles of the owners, on Windows."""
    services: Mapping[ProcessId, Sequence[str]] = field(default_factory=dict)
    """Windows services of the owners that run at least one."""
    has_bound_sockets: bool = True
    """Whether the source lists sockets that are bound to a port, and neither listen nor are connected."""
    dead_fds: Sequence[DeadFd] | None = None
    workers: Mapping[ProcessId, Sequence[int]] = field(default_factory=dict)
    """Pids of the workers of processes with connections in an accept queue, where they are known: a listener
    that a master process and its workers have open is attributed to the master."""
    totals_by_state: Mapping[int, int] | None = None
    """Number of sockets by state in the snapshot of an unfinished collection, which has no `groups` yet."""
    source: str = ""
    """Name of the socket source, such as `netlink`; empty in the snapshot of an unfinished collection."""

    def process_name(self, owner: Owner) -> str:
        """Return the name of the owner's process, or UNKNOWN_PROCESS."""
        return self.names.get(owner, UNKNOWN_PROCESS)


class PartialSnapshot(NamedTuple):
    """Results of an unfinished collection."""

    started_at: float
    """Start of the collection, in seconds of the monotonic clock."""
    snapshot: Snapshot
    """Collectors that have not finished count as failed."""


def build_unfinished_snapshot(
    durations: Mapping[CollectorName, float] | None = None,
    limits: SysctlLimits | None = None,
    counters: KernelCounters | None = None,
    totals: Mapping[int, int] | None = None,
) -> Snapshot:
    """Return the snapshot of a collection that has only these results so far.

    durations: seconds of the finished collectors. totals: number of sockets by state.
    """
    durations = durations or {}
    return Snapshot(
        groups=None,
        listeners=None,
        names={},
        unreadable_processes={},
        unresolved_reason="not_found",
        durations=durations,
        failed=MEASURED_COLLECTORS - durations.keys(),
        limits=limits,
        counters=counters,
        totals_by_state=totals,
    )


def build_empty_partial_snapshot(started_at: float) -> PartialSnapshot:
    """Return the partial snapshot of a collection without results. started_at: as in PartialSnapshot."""
    return PartialSnapshot(started_at, build_unfinished_snapshot())
