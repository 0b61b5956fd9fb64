"""Thresholds of all findings, with their reasons."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

NEVER: Final = math.inf
"""Ratio that no usage reaches."""


@dataclass(frozen=True, slots=True)
class Levels:
    """Usage ratios from which a finding is a warning or critical."""

    warning: float
    critical: float


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Thresholds of the findings. The defaults suit any host: where there is a limit they are ratios."""

    close_wait_old_seconds: float = 60.0
    """Working programs close within milliseconds, under load within seconds."""
    close_wait_few: int = 10
    """Fewer old connections are a note: a pool may keep connections for hours after the server has closed
    them, which is harmless."""
    close_wait_many: int = 100
    """This many are reported at any age: a single snapshot cannot distinguish a burst from the start of a
    leak. This many old ones are a leak: no pool is that large and that idle."""
    close_wait_linger_seconds: float = 1.0
    """Working programs close within milliseconds: connections with keepalive that are older than this are
    possibly as old as their last data, since each answered probe makes them look younger."""
    close_wait_share: float = 0.1
    """Ratio of a process's limit of file descriptors below which its connections do not exhaust the limit."""

    descriptors: Levels = Levels(0.8, 0.95)
    """The warning leaves time to plan a restart."""
    accept_queue: Levels = Levels(0.8, 1.0)
    """The critical level must be exceeded: a queue longer than its backlog drops connections now. A backlog
    is small: one slow second fills it."""
    ports: Levels = Levels(0.5, 0.8)
    """0.5: twice the load would not fit. connect() tries every second port first; above this ratio those are
    all in use, so that each call searches them without success. 0.8: 25 % more load would not fit."""
    bound_ports: Levels = Levels(0.8, 0.95)
    """Higher than for one destination: connect() shares ports between destinations, and only bind() needs a
    port that no other socket has."""
    time_wait_buckets: Levels = Levels(0.8, NEVER)
    """Never critical: above the limit sockets are closed early, which rarely does harm."""
    orphans: Levels = Levels(0.5, 0.8)
    """The kernel resets orphans whose peer does not answer from half of the limit, or from a quarter
    (tcp_out_of_resources)."""
    memory: Levels = Levels(0.5, 0.8)
    """By default the kernel begins to shrink buffers at 0.67."""

    handles_many: int = 10_000
    """Windows has no limit. Of processes that leak until outbound connections fail, this many are typical
    (Microsoft's troubleshooting of port exhaustion)."""
    time_wait_many: int = 5_000
    """To one destination: 83 new connections per second, each 60 s in TIME_WAIT. A third of the smallest
    default port range (16,384 on Windows, macOS and the BSDs) leaves time to act."""
    syn_sent_many: int = 100
    """An answer takes milliseconds: this many unanswered SYNs mean that the destination does not answer."""
    syn_recv_many: int = 100
    """Distant clients acknowledge after 0.2 s: at 500 new connections per second, this many are in SYN_RECV,
    which is normal."""
    syn_recv_share: float = 0.5
    """Ratio of the SYN queue that must be in use as well: syn_recv_many alone can be normal."""
    fin_wait2_many: int = 1_000
    """Orphaned connections end after 60 s: this many are 17 a second whose peer does not close."""
