"""The measurements at one number of sockets: rounds in which everybody takes a turn."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable
from statistics import median
from typing import Final, NamedTuple

from . import contenders, network
from .census import Census, take_census
from .contenders import Contenders
from .load import Load
from .measurement import Measurement, Result
from .memory import MemoryOverTime, memory_over_time

_LOST: Final = 0.1
"""An exporter that reports so much less than there is has not done its work."""


class Size(NamedTuple):
    """What was measured at one number of sockets."""

    wanted: int
    census: Census
    descriptors: int
    build_seconds: float
    results: dict[str, Result]
    memory: MemoryOverTime | None

    @property
    def sockets(self) -> int:
        return self.census.total()


def measure(wanted: int, rounds: int, scrapes_for_memory: int = 0) -> Size:
    """Everybody side by side, in a network namespace with so many sockets; in the end, where that is
    wanted, the memory of this exporter over so many scrapes more."""
    network.move_into_a_new_one()
    start = time.monotonic()
    with Load(wanted) as load:
        build_seconds = time.monotonic() - start
        with contenders.started() as all_of_them:
            censuses, measured = _rounds(load, all_of_them, rounds)
            _check(all_of_them)
        results = {name: Result.of(each) for name, each in measured.items()}
        memory = memory_over_time(load, scrapes_for_memory) if scrapes_for_memory else None
        return Size(wanted, middle(censuses), load.descriptors(), build_seconds, results, memory)


def _rounds(
    load: Load, all_of_them: Contenders, rounds: int
) -> tuple[list[Census], dict[str, list[Measurement]]]:
    """Sockets are replaced before each round, and each time somebody else comes first."""
    censuses: list[Census] = []
    measured: dict[str, list[Measurement]] = {name: [] for name in all_of_them.measured}
    for turn in range(rounds):
        load.refresh()
        all_of_them.exporter.scrape()  # so that between this and the measured one only what follows is new
        load.replace()
        censuses.append(take_census())
        for name, measurement in in_turn(all_of_them.measured.items(), turn):
            measured[name].append(measurement())
        censuses.append(take_census())
    return censuses, measured


def in_turn(
    everybody: Iterable[tuple[str, Callable[[], Measurement]]], turn: int
) -> list[tuple[str, Callable[[], Measurement]]]:
    """All of them, another one first each turn."""
    order = list(everybody)
    first = turn % len(order)
    return order[first:] + order[:first]


def middle(censuses: list[Census]) -> Census:
    """The median of each state."""
    states = sorted(set().union(*censuses))
    return Counter({state: round(median(census[state] for census in censuses)) for state in states})


def _check(all_of_them: Contenders) -> None:
    """Raises RuntimeError when an exporter does not report the sockets that there are."""
    servers = {
        "socket_host_states": all_of_them.exporter,
        "node_tcp_connection_states": all_of_them.node_exporter,
    }
    for metric, server in servers.items():
        there = take_census().total()
        if server and (said := server.counted(metric)) < there * (1 - _LOST):
            raise RuntimeError(f"{metric} counts {said} of {there} sockets")
