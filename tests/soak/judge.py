"""What is right and what is not: pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from statistics import linear_regression, median
from typing import Final, NamedTuple

MAX_GROWTH: Final = 3 << 20
"""Bytes by which resident memory may grow over what is measured, by the line of least squares."""

MAX_DESCRIPTORS: Final = 2
"""By so many, the number of open descriptors may differ between any two scrapes."""

States = Mapping[str, int]


class Sample(NamedTuple):
    """The exporter after a scrape: seconds since the start, resident bytes, open descriptors, threads."""

    at: float
    resident: int
    descriptors: int
    threads: int


def beside(said: States, before: States, after: States, slack: int = 0) -> list[str]:
    """How what a scrape said differs from what was counted before and after it, in words.

    Between the two, where nothing comes and goes, is what it must be; slack: what may have come and gone.
    """
    problems = []
    for state in sorted({*said, *before, *after}):
        counts = before.get(state, 0), after.get(state, 0)
        if not min(counts) - slack <= said.get(state, 0) <= max(counts) + slack:
            problems.append(
                f"{said.get(state, 0)} in {state}, where ss counts {counts[0]} and then {counts[1]}"
            )
    return problems


class Owned(NamedTuple):
    """How many sockets of known processes were said to be theirs, how many others were too, and how many they
    have."""

    right: int
    wrong: int
    there: int


def owned(said: Mapping[str, States], held: Mapping[str, States]) -> Owned:
    """Compares process -> state -> sockets with what the processes themselves say."""
    right = wrong = there = 0
    for process, states in held.items():
        for state, number in states.items():
            told = said.get(process, {}).get(state, 0)
            right += min(told, number)
            wrong += max(0, told - number)
            there += number
    return Owned(right, wrong, there)


def disowned(said: Mapping[str, States], held: Mapping[str, States]) -> str:
    """Whose sockets are said to be other than they are, in words."""
    return ", ".join(
        f"{process} has {number} in {state} and is said to have {told}"
        for process, states in held.items()
        for state, number in states.items()
        if (told := said.get(process, {}).get(state, 0)) != number
    )


def conserved(series: Mapping[tuple[str, str, str], float], totals: Mapping[str, float]) -> list[str]:
    """Where the series of a state (its first label) do not add up to its total, in words."""
    sums: Counter[str] = Counter()
    for (state, _, _), number in series.items():
        sums[state] += int(number)
    return [
        f"series of {state} add up to {sums[state]}, not to {total:.0f}"
        for state, total in totals.items()
        if sums[state] != total
    ]


def growth(samples: Sequence[Sample]) -> float:
    """Bytes by which memory grew from the first to the last, by the line of least squares."""
    times = [sample.at for sample in samples]
    if len(set(times)) < 2:
        return 0.0
    line = linear_regression(times, [sample.resident for sample in samples])
    return line.slope * (times[-1] - times[0])


def leaks(samples: Sequence[Sample]) -> Iterator[str]:
    """What grew more than it may, in words."""
    grown = growth(samples)
    if grown > MAX_GROWTH:
        yield f"memory grew by {grown / (1 << 20):.1f} MiB, more than {MAX_GROWTH >> 20} MiB"
    for what in ("descriptors", "threads"):
        numbers = [getattr(sample, what) for sample in samples]
        if numbers and max(numbers) - min(numbers) > MAX_DESCRIPTORS:
            middle = len(numbers) // 2
            yield (
                f"{min(numbers)} to {max(numbers)} {what}, at first {median(numbers[:middle]):.0f} "
                f"and later {median(numbers[middle:]):.0f}"
            )
