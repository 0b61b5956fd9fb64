"""Checks of scrapes and samples; pure functions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from statistics import linear_regression, median
from typing import Final, NamedTuple

MAX_GROWTH: Final = 3 << 20
"""Maximum growth of resident memory in bytes over the measurement, by linear regression."""

MAX_DESCRIPTORS: Final = 2
"""Maximum difference of the number of open descriptors between any two scrapes."""

States = Mapping[str, int]


class Sample(NamedTuple):
    """The exporter after a scrape: seconds since the start, resident bytes, open descriptors, threads."""

    at: float
    resident: int
    descriptors: int
    threads: int


def compare_counts(output: States, before: States, after: States, slack: int = 0) -> list[str]:
    """Return the differences between a scrape and the counts of ss before and after it.

    Each count must be between those of ss, with a tolerance of `slack` for sockets that changed in between.
    """
    problems = []
    for state in sorted({*output, *before, *after}):
        counts = before.get(state, 0), after.get(state, 0)
        if not min(counts) - slack <= output.get(state, 0) <= max(counts) + slack:
            problems.append(
                f"{output.get(state, 0)} in {state}, where ss counts {counts[0]} and then {counts[1]}"
            )
    return problems


class OwnerCounts(NamedTuple):
    """Sockets attributed to the correct process, attributed wrongly, and owned in total."""

    correct: int
    wrong: int
    total: int


def compare_owners(output: Mapping[str, States], held: Mapping[str, States]) -> OwnerCounts:
    """Compare process -> state -> sockets in a scrape with the counts of the processes themselves."""
    correct = wrong = total = 0
    for process, states in held.items():
        for state, number in states.items():
            result = output.get(process, {}).get(state, 0)
            correct += min(result, number)
            wrong += max(0, result - number)
            total += number
    return OwnerCounts(correct, wrong, total)


def wrong_owners(output: Mapping[str, States], held: Mapping[str, States]) -> str:
    """Return the processes whose exported counts are wrong."""
    return ", ".join(
        f"{process} has {number} in {state} and has {result} in the scrape"
        for process, states in held.items()
        for state, number in states.items()
        if (result := output.get(process, {}).get(state, 0)) != number
    )


def check_sums(series: Mapping[tuple[str, str, str], float], totals: Mapping[str, float]) -> list[str]:
    """Return the states (first label) whose series do not add up to the total."""
    sums: Counter[str] = Counter()
    for (state, _, _), number in series.items():
        sums[state] += int(number)
    return [
        f"series of {state} add up to {sums[state]}, not to {total:.0f}"
        for state, total in totals.items()
        if sums[state] != total
    ]


def growth(samples: Sequence[Sample]) -> float:
    """Return the growth of memory in bytes from first to last sample, by linear regression."""
    times = [sample.at for sample in samples]
    if len(set(times)) < 2:
        return 0.0
    line = linear_regression(times, [sample.resident for sample in samples])
    return line.slope * (times[-1] - times[0])


def leaks(samples: Sequence[Sample]) -> Iterator[str]:
    """Return descriptions of everything that grew above its limit."""
    grown = growth(samples)
    if grown > MAX_GROWTH:
        yield f"memory grew by {grown / (1 << 20):.1f} MiB, more than {MAX_GROWTH >> 20} MiB"
    for what in ("descriptors", "threads"):
        numbers = [getattr(sample, what) for sample in samples]
        if numbers and max(numbers) - min(numbers) > MAX_DESCRIPTORS:
            median_counts = len(numbers) // 2
            yield (
                f"{min(numbers)} to {max(numbers)} {what}, at first {median(numbers[:median_counts]):.0f} "
                f"and later {median(numbers[median_counts:]):.0f}"
            )
