"""`python -m tests.benchmarks`, which `make bench` calls: measures, prints, writes and draws."""

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

from . import contenders, rounds, small_host
from .benchmark import Benchmark
from .report import report
from .table import table

_HERE: Final = Path(__file__).parent


def main() -> int:
    """0 when everything could be measured, whether or not targets are met; 1 when something could not."""
    arguments = _parser().parse_args()
    if why := _cannot():
        print(f"cannot measure: {why}", file=sys.stderr)
        return 1
    for end in (signal.SIGINT, signal.SIGTERM):
        signal.signal(end, lambda *_: sys.exit(1))  # which ends what was started
    folder = Path(tempfile.mkdtemp(prefix="benchmark-")) if arguments.quick else _HERE
    benchmark = _measured(arguments)
    print(table(benchmark))
    _write(benchmark, arguments.output or folder / "results.json", arguments.picture or folder / "cost.svg")
    return 1 if benchmark.absent else 0


def _parser() -> argparse.ArgumentParser:
    flags = argparse.ArgumentParser(prog="make bench", description=__doc__)
    flags.add_argument("--sizes", type=_numbers, metavar="N,N", help="sockets (1000,10000,50000,150000)")
    flags.add_argument("--rounds", type=int, metavar="N", help="measurements of each, medians are taken (7)")
    flags.add_argument("--scrapes", type=int, metavar="N", help="scrapes over which memory is watched (200)")
    flags.add_argument("--output", type=Path, metavar="FILE.json", help="where the figures go")
    flags.add_argument("--picture", type=Path, metavar="FILE.svg", help="where the picture goes")
    flags.add_argument(
        "--quick",
        action="store_true",
        help="few sockets, rounds and scrapes, and files in a new temporary folder: proves that it works",
    )
    return flags


def _numbers(text: str) -> list[int]:
    return sorted({int(word) for word in text.split(",")})


def _cannot() -> str | None:
    """What lacks to measure anything; None when nothing does."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "needs Linux and root, for a network namespace of its own"
    if find_spec("matplotlib") is None:
        return "needs matplotlib, which `make bench` installs"
    return None


def _measured(arguments: argparse.Namespace) -> Benchmark:
    sizes = arguments.sizes or ([500, 5_000] if arguments.quick else [1_000, 10_000, 50_000, 150_000])
    turns = arguments.rounds or (3 if arguments.quick else 7)
    scrapes = arguments.scrapes or (20 if arguments.quick else 200)
    _say(f"a small host, {small_host.SOCKETS} sockets")
    small = small_host.measure(turns)
    measured = []
    for size in sizes:
        _say(f"{size:,} sockets")
        measured.append(rounds.measure(size, turns, scrapes if size == sizes[-1] else 0))
    return Benchmark(tuple(measured), small, contenders.absent())


def _say(what: str) -> None:
    print(f"measuring: {what}", file=sys.stderr, flush=True)


def _write(benchmark: Benchmark, output: Path, picture: Path) -> None:
    from .picture import draw  # matplotlib is to start no threads and take no memory before

    output.write_text(json.dumps(report(benchmark), indent=2) + "\n")
    draw(benchmark, picture)
    print(f"\nwritten: {output}, {picture}")


if __name__ == "__main__":
    sys.exit(main())
