"""The results as text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from .benchmark import Benchmark
from .measurement import Result
from .readers import BASELINE, COLD, NAMES, TCPSTAT, WARM
from .rounds import Size
from .targets import MEBIBYTE, MILLISECONDS, Target, targets

_COLUMNS: Final = ("", "ms", "fastest", "slowest", "CPU ms", "MiB", "x C reader", "x node_exporter")
_UNKNOWN: Final = "-"

Line = Sequence[str]


def table(benchmark: Benchmark) -> str:
    """Return costs and ratios by size, scaling, memory and targets."""
    lines = [line for size in benchmark.sizes for line in _size(benchmark, size)]
    lines += ["", *_growth(benchmark), *_memory(benchmark), ""]
    lines += align_columns(_target(target) for target in targets(benchmark))
    return "\n".join(lines)


def align_columns(rows: Iterator[Line]) -> list[str]:
    """Return rows with the first column left-aligned and the others right-aligned."""
    cells = list(rows)
    widths = [max(len(cell) for cell in column) for column in zip(*cells, strict=True)]
    return [
        "  ".join(
            cell.rjust(width) if column else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in cells
    ]


def _size(benchmark: Benchmark, size: Size) -> Iterator[str]:
    states = ", ".join(f"{number:,} {state}" for state, number in size.state_counts.most_common(4))
    yield f"\n{size.sockets:,} sockets, {size.descriptors:,} descriptors; medians of {_rounds(size)} rounds"
    yield f"  ({states}; built in {size.build_seconds:.0f} s)"
    yield from align_columns(iter([_COLUMNS, *_costs(benchmark, size)]))
    yield from (f"{name}: absent, {why}" for name, why in benchmark.absent.items())


def _costs(benchmark: Benchmark, size: Size) -> Iterator[Line]:
    for name in NAMES:
        if result := size.results.get(name):
            ratios = (benchmark.ratio(size, name, other) for other in (BASELINE, TCPSTAT))
            yield name, *_cost(result), *(number(ratio, 2) for ratio in ratios)


def _cost(result: Result) -> Line:
    times = (result.seconds, min(result.each), max(result.each), result.cpu_seconds)
    resident = None if result.resident_bytes is None else result.resident_bytes / MEBIBYTE
    return *(number(seconds * MILLISECONDS, 1) for seconds in times), number(resident, 1)


def _rounds(size: Size) -> int:
    return len(size.results[WARM].each)


def _growth(benchmark: Benchmark) -> Iterator[str]:
    powers = ", ".join(
        f"{name} {number(benchmark.exponent(name), 2)}" for name in (WARM, COLD, TCPSTAT, BASELINE)
    )
    yield f"scaling exponent n (time ~ sockets^n):\n  {powers}"


def _memory(benchmark: Benchmark) -> Iterator[str]:
    small = benchmark.small_host
    yield f"memory before any scrape {_mebibytes(small.unscraped_bytes)}, idle {_mebibytes(small.idle_bytes)}"
    if memory := benchmark.largest.memory:
        figures = (memory.after_ten, memory.start, memory.end, memory.peak)
        after_ten, start, end, peak = map(_mebibytes, figures)
        yield f"memory after ten scrapes at {benchmark.largest.wanted:,} sockets {after_ten};"
        yield f"  over {memory.scrapes} more from {start} to {end} ({memory.growth:+.1%}), at most {peak}"


def _mebibytes(size: int) -> str:
    return f"{size / MEBIBYTE:.1f} MiB"


def _target(target: Target) -> Line:
    limit = f"{'at least' if target.at_least else 'at most'} {target.bound:g} {target.unit}".rstrip()
    figure = f"{number(target.figure, 2)} {target.unit}".rstrip()
    return target.what, figure, limit, target.verdict


def number(value: float | None, digits: int) -> str:
    """Return a formatted number, or a dash for None."""
    return _UNKNOWN if value is None else f"{value:.{digits}f}"
