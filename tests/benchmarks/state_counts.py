"""Reference counts of sockets by state."""

from __future__ import annotations

import json
import subprocess
from collections import Counter
from pathlib import Path
from typing import Final

from .programs import compile_c

STATES: Final = {
    1: "established",
    2: "syn_sent",
    3: "syn_recv",
    4: "fin_wait1",
    5: "fin_wait2",
    6: "time_wait",
    7: "close",
    8: "close_wait",
    9: "last_ack",
    10: "listen",
    11: "closing",
}
"""The kernel's number of a state -> label."""

StateCounts = Counter[str]


def count_states() -> StateCounts:
    """Count the sockets with the C reader, or from /proc/net without a C compiler."""
    program = compile_c("baseline")
    if program is None:
        return _count_proc()
    done = subprocess.run([program], stdout=subprocess.PIPE, text=True, check=True)
    return label_counts(json.loads(done.stdout)["counts"])


def label_counts(numbers: list[int]) -> StateCounts:
    """Return the C reader's counts by label."""
    return StateCounts({label: numbers[number] for number, label in STATES.items() if numbers[number]})


def _count_proc() -> StateCounts:
    counts = StateCounts()
    for table in ("tcp", "tcp6"):
        with Path("/proc/self/net", table).open() as lines:
            next(lines)
            counts.update(STATES.get(int(line.split()[3], 16), "syn_recv") for line in lines)
    return counts
