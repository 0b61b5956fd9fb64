"""`python -m tests.soak MINUTES`, run by `make soak` as root: uses a separate network namespace."""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
import tempfile
from pathlib import Path

from ..benchmarks.network import enter_new_namespace
from ..running import running
from .actors import Actors
from .report import report
from .scenarios import Scenarios
from .scraped import Scraped
from .soak import Soak
from .workers import Workers


def main() -> int:
    """Return 0 if all checks passed, 1 otherwise."""
    flags = argparse.ArgumentParser(prog="make soak", description=__doc__)
    flags.add_argument("minutes", type=float, help="how long")
    minutes = flags.parse_args().minutes
    if sys.platform != "linux" or os.geteuid() != 0 or not shutil.which("ss"):
        print("cannot soak: needs Linux, root for a network namespace of its own, and ss", file=sys.stderr)
        return 1
    for end in (signal.SIGINT, signal.SIGTERM):
        signal.signal(end, lambda *_: sys.exit(1))  # which ends what was started
    enter_new_namespace()
    with tempfile.TemporaryDirectory(prefix="soak-") as folder:
        log = Path(folder, "log")
        with Actors() as actors, Workers() as workers, running(log) as exporter:
            scenarios = Scenarios(actors)
            results = Soak(workers, scenarios, Scraped(exporter)).run(minutes * 60)
        results.log = [line for line in log.read_text().splitlines() if "level=info" not in line]
    print(report(results, workers, scenarios, minutes * 60))
    return 1 if results.all_problems else 0


if __name__ == "__main__":
    sys.exit(main())
