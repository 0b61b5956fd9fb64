"""Performance targets of the exporter."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

from .benchmark import Benchmark
from .readers import BASELINE, COLD, PSUTIL, TCPSTAT, WARM
from .small_host import SOCKETS as SMALL_HOST_SOCKETS

JUDGED_SOCKETS: Final = 150_000
"""Number of sockets from which the targets apply; below it they are reported but not judged."""

MAX_GROWTH_PERCENT: Final = 5.0
"""Growth that still counts as flat: Python's allocator releases memory in large blocks."""

MEBIBYTE: Final = 2**20
MILLISECONDS: Final = 1000


class Target(NamedTuple):
    """A measured value and its limit. `figure` is None if it could not be measured."""

    what: str
    figure: float | None
    bound: float
    unit: str = ""
    at_least: bool = False
    applies: bool = True

    @property
    def verdict(self) -> str:
        if self.figure is None:
            return "not measured"
        if not self.applies:
            return "not judged"
        return "met" if self.is_met else "NOT MET"

    @property
    def is_met(self) -> bool | None:
        """Whether the target is met; None if it is not measured or does not apply."""
        if self.figure is None or not self.applies:
            return None
        return self.figure >= self.bound if self.at_least else self.figure <= self.bound


def targets(benchmark: Benchmark) -> tuple[Target, ...]:
    """Return all targets."""
    return (*_at_the_largest(benchmark), *_growth(benchmark), *_on_a_small_host(benchmark))


def _at_the_largest(benchmark: Benchmark) -> Iterator[Target]:
    largest, applies = benchmark.largest, benchmark.largest.wanted >= JUDGED_SOCKETS
    where = f"at {largest.wanted:,} sockets"

    def ratio(reader: str, other: str) -> float | None:
        return benchmark.ratio(largest, reader, other)

    yield Target(f"warm scrape / node_exporter, {where}", ratio(WARM, TCPSTAT), 0.75, "x", applies=applies)
    yield Target(f"warm scrape / C reader, {where}", ratio(WARM, BASELINE), 2.5, "x", applies=applies)
    yield Target(
        f"psutil / warm scrape, {where}", ratio(PSUTIL, WARM), 6, "x", at_least=True, applies=applies
    )
    yield Target(f"first scrape / node_exporter, {where}", ratio(COLD, TCPSTAT), 3, "x", applies=applies)
    if memory := largest.memory:
        after_ten = memory.after_ten / MEBIBYTE
        yield Target(f"memory after ten scrapes, {where}", after_ten, 62, "MiB", applies=applies)
        grown = f"growth of memory over {memory.scrapes} more scrapes"
        yield Target(grown, memory.growth * 100, MAX_GROWTH_PERCENT, "%", applies=applies)


def _growth(benchmark: Benchmark) -> Iterator[Target]:
    yield Target("warm scrape: time grows with sockets to the power", benchmark.exponent(WARM), 1.1)
    yield Target("first scrape: time grows with sockets to the power", benchmark.exponent(COLD), 1.1)


def _on_a_small_host(benchmark: Benchmark) -> Iterator[Target]:
    small, where = benchmark.small_host, f"with {SMALL_HOST_SOCKETS} sockets"
    yield Target(f"CPU of a scrape, {where}", small.cpu_seconds * MILLISECONDS, 10, "ms")
    yield Target(f"idle memory, {where}", small.idle_bytes / MEBIBYTE, 38, "MiB")
    yield Target(f"start to first answer, {where}", small.start_seconds, 0.6, "s")
