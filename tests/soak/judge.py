"""Checks of scrapes and samples; pure functions."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from statistics import linear_regression, median
from typing import Final, NamedTuple

from ..oracle import Row
from .held import UNKNOWN, key_of

MAX_GROWTH: Final = 3 << 20
"""Maximum growth of resident memory in bytes over the measurement, by linear regression."""

MAX_DESCRIPTORS: Final = 2
"""Maximum difference of the number of open descriptors between any two scrapes."""

MAX_LATE_SCRAPES: Final = 3
"""Number of scrapes after a change that may still show what the processes held before it."""

MAX_UNSEEN_SECONDS: Final = 45.0
"""Time after which dead descriptors are found that no scrape saw with a connection. Nothing tells which
process has them: the exporter looks for them at all processes every 30 s at most, in parts."""

States = Mapping[str, int]

Held = Mapping[str, States]
"""Process -> state and port, as held.key_of() writes them -> sockets."""

Endpoint = tuple[bytes, int]

_OPEN_STATES: Final = frozenset({"established", "close_wait", "listen", "dead"})
"""States of sockets with a descriptor, which tells their owner."""

_RECENT_ENTRIES: Final = 2 * (1 + MAX_LATE_SCRAPES)

_NO_PROCESS: Final = "unknown"


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


class Mismatch(NamedTuple):
    """A number in a scrape that is not in the range of what the process held."""

    process: str
    state: str
    exported: int
    least: int
    most: int

    @property
    def is_wrong(self) -> bool:
        """Whether sockets of others are attributed to the process; otherwise its own are missing."""
        return self.exported > self.most

    def __str__(self) -> str:
        held = f"{self.least}" if self.least == self.most else f"{self.least} to {self.most}"
        return f"{self.process} has {held} in {self.state} and has {self.exported} in the scrape"


class History:
    """Sockets that the processes held before and after the last scrapes, as far as compare_held() needs it.

    It begins with nothing: the first scrapes may know less than those after them.
    """

    def __init__(self, now: float) -> None:
        self._entries: deque[tuple[float, Held]] = deque([(now, {}), (now, {})])

    def add(self, before: Held, after: Held, now: float) -> None:
        """Add what the processes held before and after a scrape. now: seconds of any clock."""
        self._entries += (now, before), (now, after)
        while self._entries[0][0] < now - MAX_UNSEEN_SECONDS and len(self._entries) > _RECENT_ENTRIES:
            self._entries.popleft()

    def recent(self) -> list[Held]:
        """Return what was held during the last scrape and the MAX_LATE_SCRAPES before it."""
        return self.all()[-_RECENT_ENTRIES:]

    def all(self) -> list[Held]:
        """Return what was held in the last MAX_UNSEEN_SECONDS, and in recent()."""
        return [held for _, held in self._entries]


def compare_held(
    output: Held, history: History, resolvable: Container[str], ignored: Container[str] = ()
) -> Iterator[Mismatch]:
    """Yield what a scrape attributes to processes that did not hold it, and what it fails to attribute.

    A number between the minimum and the maximum of what was held recently is accepted: for a few scrapes a
    new owner may be unknown and the previous one be named, but never any other process.

    history: the last entries are of this scrape.
    resolvable: the processes all of whose sockets must be attributed; for others unknown owners are accepted.
    ignored: states in which sockets may be missing.
    """
    recent, unseen = history.recent(), history.all()
    for process in sorted({process for held in (output, *recent) for process in held} - {_NO_PROCESS}):
        for state in sorted({state for held in (output, *recent) for state in held.get(process, {})}):
            exported = _number(output, process, state)
            most = max(_number(held, process, state) for held in recent)
            least = min(_number(held, process, state) for held in (unseen if state == UNKNOWN else recent))
            is_known = process in resolvable and _is_open(state) and state not in ignored
            if exported > most or (is_known and exported < least):
                yield Mismatch(process, state, exported, least, most)


def _number(held: Held, process: str, state: str) -> int:
    return held.get(process, {}).get(state, 0)


class Closers(NamedTuple):
    """Processes that close connections to services (address, port): as clients, and as servers."""

    clients: dict[Endpoint, set[str]]
    servers: dict[Endpoint, set[str]]


def former_owners(rows: Iterable[Row], closers: Closers) -> dict[str, Counter[str]]:
    """Return the sockets that processes may have closed, such as in TIME_WAIT, as Held.

    A socket that one of several processes has closed counts for each of them.
    """
    held: dict[str, Counter[str]] = {}
    for row in rows:
        if row.state in _OPEN_STATES:
            continue
        for name in closers.clients.get((row.remote_address, row.remote_port), ()):
            held.setdefault(name, Counter())[key_of(row.state, str(row.remote_port))] += 1
        for name in closers.servers.get((row.local_address, row.local_port), ()):
            held.setdefault(name, Counter())[key_of(row.state, "inbound")] += 1
    return held


def only_open(states: States) -> States:
    """Return the states of sockets with a descriptor."""
    return {state: number for state, number in states.items() if _is_open(state)}


def _is_open(key: str) -> bool:
    return key.partition(",")[0] in _OPEN_STATES


def add_held(*parts: Held) -> dict[str, Counter[str]]:
    """Return the sums of parts of what processes hold."""
    sums: dict[str, Counter[str]] = {}
    for part in parts:
        for process, states in part.items():
            sums.setdefault(process, Counter()).update(states)
    return sums


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


def check_open_fds(dead: Mapping[tuple[str, str], int], open_fds: Mapping[str, float]) -> list[str]:
    """Return the processes with more dead descriptors, (process, connection) -> number, than open ones."""
    sums: Counter[str] = Counter()
    for (process, _), number in dead.items():
        sums[process] += number
    return [
        f"{process} has {number} dead descriptors and {open_fds.get(process, 0):.0f} open ones"
        for process, number in sums.items()
        if number > open_fds.get(process, 0)
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
