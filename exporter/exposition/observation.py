"""What one look at the host found: plain values, from which the metrics and the findings are made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from ..model import (
    Descriptors,
    Group,
    KernelCounters,
    Limits,
    Listener,
    Owner,
    ProcessId,
)
from .stuck import Stuck

STATES: Final = "states"
LISTENERS: Final = "listeners"
OWNERS: Final = "owners"
CLOSE_WAIT: Final = "close-wait"
TIME_WAIT: Final = "time-wait"
EPHEMERAL: Final = "ephemeral"
EPHEMERAL_ADDRESSES: Final = "ephemeral-addresses"
DESCRIPTORS: Final = "descriptors"
QUEUES: Final = "queues"
LIMITS: Final = "limits"

PARTS: Final[Mapping[str, str]] = {
    STATES: "sockets by state, process and remote port",
    LISTENERS: "sockets by listening port, and accept queues",
    OWNERS: "which process holds a socket; without it, every process is `unknown`",
    CLOSE_WAIT: "causes and ages of CLOSE_WAIT",
    TIME_WAIT: "how the owners of TIME_WAIT were found",
    EPHEMERAL: "ephemeral ports used, towards the fullest destination and on the fullest address",
    EPHEMERAL_ADDRESSES: "remote addresses of the fullest destinations: the only addresses exported",
    DESCRIPTORS: "file descriptors of the processes that own sockets, against their limit",
    QUEUES: "bytes unread and unacknowledged, by process",
    LIMITS: "the host's limits and what the kernel counts: TIME_WAIT, ports, orphans, memory, overflows",
}
"""The parts of a scrape that can be left out -> what they give."""

MEASURED: Final = frozenset({STATES, LISTENERS, OWNERS, CLOSE_WAIT, EPHEMERAL, DESCRIPTORS, LIMITS})
"""The parts for which something is read or counted; the others are made of what these found."""


@dataclass(frozen=True, slots=True)
class Observation:
    """What one look found. None stands for what could not be read, or was not asked for."""

    groups: Mapping[Group, int] | None
    listeners: Sequence[tuple[Listener, Owner]] | None
    names: Mapping[Owner, str]
    """What the process of each owner is called; an Unowned one has no name."""
    unreadable: Mapping[str, int]
    not_found_because: str
    seconds: Mapping[str, float]
    failed: frozenset[str]
    stuck: Sequence[Stuck] | None = None
    queues: Mapping[Group, tuple[int, int]] | None = None
    """Unread and unacknowledged bytes."""
    ports_on_one_address: int | None = None
    """Distinct ephemeral ports taken on the fullest local address."""
    limits: Limits | None = None
    counters: KernelCounters | None = None
    descriptors: Mapping[ProcessId, Descriptors] = field(default_factory=dict)
    totals: Mapping[int, int] | None = None
    """Sockets by state, where `groups` are not known yet: of a look that goes on."""
