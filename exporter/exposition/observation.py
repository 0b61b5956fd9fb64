"""What one look at the host found: plain values, from which the metrics and the findings are made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ..model import (
    UNKNOWN_PROCESS,
    ClassifiedCloseWait,
    Descriptors,
    Group,
    KernelCounters,
    Limits,
    Listener,
    Owner,
    ProcessId,
)
from ..model.collectors import CollectorName


@dataclass(frozen=True, slots=True)
class Observation:
    """What one look found. None stands for what could not be read, or was not asked for."""

    groups: Mapping[Group, int] | None
    listeners: Sequence[tuple[Listener, Owner]] | None
    names: Mapping[Owner, str]
    """What the process of each owner is called; an Unowned one has no name."""
    unreadable: Mapping[str, int]
    not_found_because: str
    seconds: Mapping[CollectorName, float]
    failed: frozenset[CollectorName]
    stuck: Sequence[ClassifiedCloseWait] | None = None
    queues: Mapping[Group, tuple[int, int]] | None = None
    """Unread and unacknowledged bytes."""
    ports_on_one_address: int | None = None
    """Distinct ephemeral ports taken on the fullest local address."""
    limits: Limits | None = None
    counters: KernelCounters | None = None
    descriptors: Mapping[ProcessId, Descriptors] = field(default_factory=dict)
    totals: Mapping[int, int] | None = None
    """Sockets by state, where `groups` are not known yet: of a look that goes on."""
    source: str = ""
    """Name of the socket source, such as `netlink`; empty in the snapshot of an unfinished collection."""

    def process_name(self, owner: Owner) -> str:
        """Return the name of the owner's process, or UNKNOWN_PROCESS."""
        return self.names.get(owner, UNKNOWN_PROCESS)
