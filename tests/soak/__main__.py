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
from .report import report
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
    soak = Soak(minutes * 60)
    with tempfile.TemporaryDirectory(prefix="soak-") as folder:
        log = Path(folder, "log")
        with Workers() as workers, running(log) as exporter:
            soak.run(workers, Scraped(exporter))
        soak.log = [line for line in log.read_text().splitlines() if "level=info" not in line]
    print(report(soak))
    return 1 if soak.problems or soak.log else 0


if __name__ == "__main__":
    sys.exit(main())
