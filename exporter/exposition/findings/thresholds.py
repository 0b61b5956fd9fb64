"""From where on something is worth an operator's time: every figure of the findings, and why it is that."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

NEVER: Final = math.inf


@dataclass(frozen=True, slots=True)
class Levels:
    """Shares of a limit from which on a finding is a warning, and critical."""

    warning: float
    critical: float


@dataclass(frozen=True, slots=True)
class Thresholds:
    """The defaults are meant for every host: shares of limits where there is a limit."""

    close_wait_old: float = 60.0
    """Seconds. Programs that work close within milliseconds, under load within seconds."""
    close_wait_few: int = 10
    """Fewer old ones are a note. A pool whose idle connections the server has closed looks like this for
    hours, and does no harm."""
    close_wait_many: int = 100
    """So many are worth a look at any age: one look cannot tell a burst from the beginning of a pile.
    So many old ones are a leak: no pool is that big and that idle."""
    close_wait_share: float = 0.1
    """Part of a process's descriptor limit. Of fewer it cannot be said that they use the limit up."""

    descriptors: Levels = Levels(0.8, 0.95)
    """Beyond the warning there is still time to restart at a moment of one's choosing."""
    accept_queue: Levels = Levels(0.8, 1.0)
    """A full queue drops connections now. A backlog is small, and filled by one slow second."""
    ports: Levels = Levels(0.5, 0.8)
    """Half: twice the load does not fit, and connect(), which tries every other port first, searches all of
    those in vain each time. Four fifths: a quarter more does not fit."""
    bound_ports: Levels = Levels(0.8, 0.95)
    """Higher than for one destination: connect() shares ports between destinations, so that many distinct
    ones are no trouble by themselves; only bind() needs one that nobody has."""
    time_wait_buckets: Levels = Levels(0.8, NEVER)
    """Never critical: beyond the limit sockets are closed a little early, which hardly anybody notices."""
    orphans: Levels = Levels(0.5, 0.8)
    """Those whose other side stays silent are reset at half of the limit already, or at a quarter
    (tcp_out_of_resources)."""
    memory: Levels = Levels(0.5, 0.8)
    """By default the kernel begins to squeeze buffers at 0.67."""

    time_wait_many: int = 5_000
    """Towards one destination; 83 connections a second. A third of the smallest default range of ports
    (16,384 on Windows, macOS and the BSDs), so that there is time to act."""
    syn_sent_many: int = 100
    """An answer takes milliseconds: so many unanswered at once are a destination that does not answer."""
    syn_recv_many: int = 100
    """Callers from far away confirm after 0.2 s: 500 connections a second look like this, and are normal."""
    syn_recv_share: float = 0.5
    """So that, besides, half of the queue that holds them has to be taken."""
    fin_wait2_many: int = 1_000
    """What no process holds ends after 60 s: 17 a second whose other side does not close."""
