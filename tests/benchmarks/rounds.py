"""Measurements at one number of sockets, in rounds that measure each reader once."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable
from statistics import median
from typing import Final, NamedTuple

from . import network, readers
from .load import Load
from .measurement import Measurement, Result
from .memory import MemoryOverTime, memory_over_time
from .readers import Readers
from .state_counts import StateCounts, count_states

_MAX_MISSING: Final = 0.1
"""Maximum fraction of sockets that an exporter may fail to report."""


class Size(NamedTuple):
    """Results at one number of sockets."""

    wanted: int
    state_counts: StateCounts
    descriptors: int
    build_seconds: float
    results: dict[str, Result]
    memory: MemoryOverTime | None

    @property
    def sockets(self) -> int:
        return self.state_counts.total()


def measure(wanted: int, rounds: int, scrapes_for_memory: int = 0) -> Size:
    """Measure all readers in a network namespace with `wanted` sockets.

    scrapes_for_memory: scrapes over which the memory of this exporter is measured at the end; 0 skips this.
    """
    network.enter_new_namespace()
    start = time.monotonic()
    with Load(wanted) as load:
        build_seconds = time.monotonic() - start
        with readers.started() as running:
            all_counts, measured = _rounds(load, running, rounds)
            _check(running)
        results = {name: Result.of(each) for name, each in measured.items()}
        memory = memory_over_time(load, scrapes_for_memory) if scrapes_for_memory else None
        return Size(wanted, median_counts(all_counts), load.descriptors(), build_seconds, results, memory)


def _rounds(
    load: Load, running: Readers, rounds: int
) -> tuple[list[StateCounts], dict[str, list[Measurement]]]:
    """Replace sockets before each round, and start each round with another reader."""
    all_counts: list[StateCounts] = []
    measured: dict[str, list[Measurement]] = {name: [] for name in running.measured}
    for turn in range(rounds):
        load.refresh()
        running.exporter.scrape()  # only sockets replaced after this scrape are new to the measured one
        load.replace()
        all_counts.append(count_states())
        for name, measurement in rotated(running.measured.items(), turn):
            measured[name].append(measurement())
        all_counts.append(count_states())
    return all_counts, measured


def rotated(
    named_readers: Iterable[tuple[str, Callable[[], Measurement]]], turn: int
) -> list[tuple[str, Callable[[], Measurement]]]:
    """Return the readers, rotated by `turn`."""
    order = list(named_readers)
    first = turn % len(order)
    return order[first:] + order[:first]


def median_counts(all_counts: list[StateCounts]) -> StateCounts:
    """Return the median of each state."""
    states = sorted(set().union(*all_counts))
    return Counter({state: round(median(counts[state] for counts in all_counts)) for state in states})


def _check(running: Readers) -> None:
    """Raise RuntimeError if an exporter does not report the existing sockets."""
    servers = {
        "socket_host_states": running.exporter,
        "node_tcp_connection_states": running.node_exporter,
    }
    for metric, server in servers.items():
        expected = count_states().total()
        if server and (reported := server.sum_of(metric)) < expected * (1 - _MAX_MISSING):
            raise RuntimeError(f"{metric} counts {reported} of {expected} sockets")
