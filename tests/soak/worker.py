"""One process of the soak test: `python -m tests.soak.worker NUMBER`.

Its name is soakNUMBER. It holds connections to itself like a worker of the benchmark, and executes commands,
one per line:

    open PAIRS CLOSE_WAIT   open connections, and connections with one end closed
    replace SHARE           close that share of all connections and open as many new ones
    fork_children NUMBER    fork children, which share all sockets, connect, and exit soon
    held                    print the number of sockets that this process has open, by state, as JSON

Each prints one line when it is done. The worker exits with the end of its input.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from ..benchmarks.worker import PORTS, Worker
from .held import count_states, key_of

_VISIT: Final = 0.2
"""Lifetime of a child in seconds."""


class SoakWorker(Worker):
    """A worker that forks children and reports its sockets."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self._children: list[int] = []

    def replace(self, share: float) -> int:
        self._reap()
        replaced = super().replace(share)
        # Sockets in TIME_WAIT are left to the kernel's timer.
        self._time_wait.clear()
        return replaced

    def fork_children(self, number: int) -> int:
        for _ in range(number):
            pair = self._connect()
            pid = os.fork()
            if pid == 0:
                time.sleep(_VISIT)
                os._exit(0)
            self._children.append(pid)
            pair.close(client_first=True)
        return number

    def held(self) -> str:
        self._reap()
        ends = [end for pair in self._pairs for end in (pair.client, pair.accepted)]
        listeners = {key_of("listen", "none"): len(PORTS) + 1}
        return json.dumps(listeners | count_states([*ends, *self._close_wait]))

    def _reap(self) -> None:
        for pid in self._children:
            os.waitpid(pid, 0)
        self._children.clear()


def main() -> None:
    """Execute commands until the end of the input."""
    number = int(sys.argv[1])
    Path("/proc/self/comm").write_text(f"soak{number}")
    worker = SoakWorker(number)
    commands: dict[str, Callable[..., Any]] = {
        "open": lambda pairs, close_wait: worker.open(int(pairs), int(close_wait)),
        "replace": lambda share: worker.replace(float(share)),
        "fork_children": lambda children: worker.fork_children(int(children)),
        "held": worker.held,
    }
    for line in sys.stdin:
        name, *arguments = line.split()
        print(commands[name](*arguments), flush=True)


if __name__ == "__main__":
    main()
