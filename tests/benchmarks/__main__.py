"""`python -m tests.benchmarks`, run by `make bench`: measures, prints a table, writes results and a chart."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from . import readers, rounds, small_host
from .benchmark import Benchmark
from .report import report
from .table import table

_HERE: Final = Path(__file__).parent


def main() -> int:
    """Return 0 if everything could be measured, even with missed targets; 1 otherwise."""
    arguments = _parser().parse_args()
    if why := _missing_prerequisite():
        print(f"cannot measure: {why}", file=sys.stderr)
        return 1
    for end in (signal.SIGINT, signal.SIGTERM):
        signal.signal(end, lambda *_: sys.exit(1))  # runs the cleanup of all context managers
    folder = Path(tempfile.mkdtemp(prefix="benchmark-")) if arguments.quick else _HERE
    benchmark = _measure(arguments)
    print(table(benchmark))
    _write(benchmark, arguments.output or folder / "results.json", arguments.chart or folder / "cost.svg")
    return 1 if benchmark.absent else 0


def _parser() -> argparse.ArgumentParser:
    flags = argparse.ArgumentParser(prog="make bench", description=__doc__)
    flags.add_argument("--sizes", type=_numbers, metavar="N,N", help="sockets (1000,10000,50000,150000)")
    flags.add_argument(
        "--rounds", type=int, metavar="N", help="measurements per program, of which the median is used (7)"
    )
    flags.add_argument(
        "--scrapes", type=int, metavar="N", help="scrapes over which memory growth is measured (200)"
    )
    flags.add_argument("--output", type=Path, metavar="FILE.json", help="file for the results")
    flags.add_argument("--chart", type=Path, metavar="FILE.svg", help="file for the chart")
    flags.add_argument(
        "--quick",
        action="store_true",
        help="few sockets, rounds and scrapes, with files in a temporary folder, to check that it works",
    )
    return flags


def _numbers(text: str) -> list[int]:
    return sorted({int(word) for word in text.split(",")})


def _missing_prerequisite() -> str | None:
    """Return a missing prerequisite, or None."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "requires Linux and root, for a separate network namespace"
    if find_spec("matplotlib") is None:
        return "requires matplotlib, which `make bench` installs"
    return None


def _measure(arguments: argparse.Namespace) -> Benchmark:
    sizes = arguments.sizes or ([500, 5_000] if arguments.quick else [1_000, 10_000, 50_000, 150_000])
    turns = arguments.rounds or (3 if arguments.quick else 7)
    scrapes = arguments.scrapes or (20 if arguments.quick else 200)
    _progress(f"a small host, {small_host.SOCKETS} sockets")
    small = small_host.measure(turns)
    measured = []
    for size in sizes:
        _progress(f"{size:,} sockets")
        measured.append(rounds.measure(size, turns, scrapes if size == sizes[-1] else 0))
    return Benchmark(tuple(measured), small, readers.absent())


def _progress(what: str) -> None:
    print(f"measuring: {what}", file=sys.stderr, flush=True)


def _write(benchmark: Benchmark, output: Path, chart: Path) -> None:
    from .chart import draw_chart  # not imported earlier: matplotlib starts threads and uses memory

    output.write_text(json.dumps(report(benchmark), indent=2) + "\n")
    draw_chart(benchmark, chart)
    print(f"\nwritten: {output}, {chart}")


if __name__ == "__main__":
    sys.exit(main())
