"""Bounds the number of series without losing a socket: what is folded is added to `other`. Pure.

Who was visible before stays so until another is clearly bigger, so that a series near the edge
does not come and go with every scrape.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple, TypeVar

OTHER: Final = "other"

KEEPS: Final = 1.25
"""How many times bigger a newcomer must be to take the place of one that was visible."""

_Item = TypeVar("_Item", bound=Hashable)


class Series(NamedTuple):
    """The labels of one series: state or any other first label, process, and port."""

    state: str
    process: str
    port: str


@dataclass(frozen=True, slots=True)
class Limits:
    """At most so many values of a label, and so many series. `series` is at least the number of
    states: a state's sockets have to be shown somewhere."""

    processes: int
    ports: int
    series: int


@dataclass(frozen=True, slots=True)
class Visible:
    """What was shown in the scrape before."""

    processes: frozenset[str] = frozenset()
    ports: frozenset[str] = frozenset()
    series: frozenset[Series] = frozenset()


@dataclass(frozen=True, slots=True)
class Folded:
    """The bounded counts, what they show, and how many values of each label went into `other`."""

    counts: Mapping[Series, int]
    visible: Visible
    hidden_processes: int
    hidden_ports: int
    hidden_series: int


def fold(
    counts: Mapping[Series, int], limits: Limits, before: Visible, always: Collection[str] = ()
) -> Folded:
    """Bounds processes, then ports, then series, keeping the biggest.

    For every state the sum stays what it was. `always` are values of process and port that take
    no place and are never folded, except into the last `other` of a state when series run out.
    """
    if whole := _all_of_it(counts, limits, always):
        return whole
    processes = _biggest(_totals(counts, "process", always), limits.processes, before.processes)
    ports = _biggest(_totals(counts, "port", always), limits.ports, before.ports)

    def place(series: Series) -> Series:
        process = series.process if series.process in processes or series.process in always else OTHER
        port = series.port if series.port in ports or series.port in always else OTHER
        return Series(series.state, process, port)

    placed = _regroup(counts, place)
    bounded, shown = _bound_series(placed, limits.series, before.series)
    return Folded(
        bounded,
        Visible(processes, ports, shown),
        hidden_processes=_number_hidden(counts, "process", processes, always),
        hidden_ports=_number_hidden(counts, "port", ports, always),
        hidden_series=len(placed) - len(placed.keys() & bounded.keys()),
    )


def _all_of_it(counts: Mapping[Series, int], limits: Limits, always: Collection[str]) -> Folded | None:
    """Where nothing exceeds the limits, as on most hosts."""
    processes = {series.process for series in counts}.difference(always, {OTHER})
    ports = {series.port for series in counts}.difference(always, {OTHER})
    if len(processes) > limits.processes or len(ports) > limits.ports or len(counts) > limits.series:
        return None
    visible = Visible(frozenset(processes), frozenset(ports), frozenset(counts))
    return Folded(counts, visible, hidden_processes=0, hidden_ports=0, hidden_series=0)


def _bound_series(
    counts: Mapping[Series, int], limit: int, before: Collection[Series]
) -> tuple[Mapping[Series, int], frozenset[Series]]:
    """First the ports of the smallest series go, then their processes."""
    for give_up in (_without_port, _without_process):
        if len(counts) <= limit:
            break
        room = limit - len({give_up(series) for series in counts})
        kept = _biggest(counts, max(room, 0), before)
        counts = _regroup(counts, _unless_in(kept, give_up))
    return counts, frozenset(counts)


def _unless_in(kept: Collection[Series], give_up: Callable[[Series], Series]) -> Callable[[Series], Series]:
    return lambda series: series if series in kept else give_up(series)


def _without_port(series: Series) -> Series:
    return Series(series.state, series.process, OTHER)


def _without_process(series: Series) -> Series:
    return Series(series.state, OTHER, OTHER)


def _biggest(totals: Mapping[_Item, int], limit: int, before: Collection[_Item]) -> frozenset[_Item]:
    """The `limit` biggest; equal ones by name, so that the choice does not depend on their order."""

    def rank(item: _Item) -> tuple[float, str]:
        return -totals[item] * (KEEPS if item in before else 1), str(item)

    return frozenset(sorted(totals, key=rank)[:limit])


def _totals(counts: Mapping[Series, int], label: str, leave_out: Collection[str]) -> Counter[str]:
    totals: Counter[str] = Counter()
    for series, count in counts.items():
        totals[getattr(series, label)] += count
    for value in (*leave_out, OTHER):
        totals.pop(value, None)
    return totals


def _number_hidden(
    counts: Iterable[Series], label: str, visible: Collection[str], always: Collection[str]
) -> int:
    return len({getattr(series, label) for series in counts} - set(visible) - set(always) - {OTHER})


def _regroup(counts: Mapping[Series, int], place: Callable[[Series], Series]) -> Mapping[Series, int]:
    regrouped: Counter[Series] = Counter()
    for series, count in counts.items():
        regrouped[place(series)] += count
    return regrouped
