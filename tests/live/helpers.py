"""What the live tests share: sockets in known states, what `ss` says of them, what the exporter says."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep
from typing import Final

from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from ..oracle import FILTERS, Row, rows
from .namespace import Namespace
from .states import Expected

_TESTS: Final = Path(__file__).parents[1]

UNPRIVILEGED: Final = (
    "setpriv",
    "--reuid=65534",
    "--regid=65534",
    "--clear-groups",
    "--bounding-set=-all",
    "--inh-caps=-all",
)
"""Before a command line: run it as nobody, without any capability."""


@contextmanager
def hold_states(namespace: Namespace) -> Iterator[list[Expected]]:
    """Have sockets in every state held in the namespace (live.hold); gives what there is.

    `ss` has been seen to agree on the number in each state when this returns.
    """
    program = namespace.popen([sys.executable, "-PS", "-m", "live.hold"], env=_environment(_TESTS))
    assert program.stdin is not None
    assert program.stdout is not None
    line = program.stdout.readline()
    if not line:
        raise RuntimeError("live.hold failed: see its message on stderr")
    expected = [Expected(*row) for row in json.loads(line)]
    counted = totals(row for row in expected if row.state != "close")
    wait_until(lambda: _shown(namespace) == counted)
    try:
        yield expected
    finally:
        program.stdin.close()
        program.wait(timeout=10)


def _shown(namespace: Namespace) -> Counter[str]:
    """What `ss` counts by state, without those that are only bound: it lists them since iproute2 6.15."""
    return Counter(row.state for row in listed(namespace) if row.state != "close")


def wait_until(condition: Callable[[], bool], seconds: float = 5) -> None:
    """Ask until it is so, or raise TimeoutError."""
    deadline = monotonic() + seconds
    while not condition():
        if monotonic() > deadline:
            raise TimeoutError(f"still not so after {seconds} s")
        sleep(0.02)


def totals(expected: Iterable[Expected]) -> Counter[str]:
    """State -> how many sockets."""
    counts: Counter[str] = Counter()
    for row in expected:
        counts[row.state] += row.sockets
    return counts


def listed(namespace: Namespace, state: str | None = None) -> list[Row]:
    """What `ss -Htan` lists in the namespace; with a state, what `ss -Htan state STATE` lists."""
    only = ["state", FILTERS[state]] if state else []
    return rows(namespace.run(["ss", "-Htan", *only]).stdout, state)


class Scrape:
    """The samples of one scrape."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.samples: dict[str, list[Sample]] = {}
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                self.samples.setdefault(sample.name, []).append(sample)

    def by(self, name: str, *labels: str, **where: str) -> Counter[tuple[str, ...]]:
        """The sums of a metric by these labels, over the samples with these label values; no zeros."""
        sums: Counter[tuple[str, ...]] = Counter()
        for sample in self.samples[name]:
            if where.items() <= sample.labels.items():
                sums[tuple(sample.labels[label] for label in labels)] += int(sample.value)
        return +sums

    def states(self) -> Counter[str]:
        """socket_host_states, without zeros."""
        return Counter({state: count for (state,), count in self.by("socket_host_states", "state").items()})


def scrape(namespace: Namespace, *flags: str, through: Iterable[str] = ()) -> Scrape:
    """What the exporter reports once inside the namespace; `through`: the start of the command line."""
    argv = [*through, sys.executable, "-P", "-m", "exporter", "--once", "--path.procfs=/proc", *flags]
    return Scrape(namespace.run(argv, env=_environment(*_exporter_root())).stdout)


def explain(
    namespace: Namespace, *flags: str, through: Iterable[str] = ()
) -> subprocess.CompletedProcess[str]:
    """What `explain` says inside the namespace; `through` as for scrape()."""
    argv = [*through, sys.executable, "-P", "-m", "exporter", "explain", *flags]
    return namespace.run(argv, env=_environment(*_exporter_root()), check=False)


@contextmanager
def hold_leak(
    namespace: Namespace, name: str, cause: str, count: int, port: int, limit: int | None = None
) -> Iterator[int]:
    """Have a service that leaks connections (live.leak) run in the namespace; gives its pid."""
    arguments = [name, cause, str(count), str(port), *([str(limit)] if limit else [])]
    program = namespace.popen(
        [sys.executable, "-PS", "-m", "live.leak", *arguments], env=_environment(_TESTS)
    )
    assert program.stdin is not None
    assert program.stdout is not None
    if program.stdout.readline() != "ready\n":
        raise RuntimeError("live.leak failed: see its message on stderr")
    try:
        yield program.pid
    finally:
        program.stdin.close()
        program.wait(timeout=10)


def _exporter_root() -> list[Path]:
    """Where `import exporter` finds it here, for the child to find the same one from any working
    directory. None needed for an installed wheel."""
    spec = importlib.util.find_spec("exporter")
    assert spec is not None
    assert spec.origin is not None
    root = Path(spec.origin).resolve().parents[1]
    return [] if root.name == "site-packages" else [root]


def _environment(*python_path: Path) -> dict[str, str]:
    variables = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"}
    if python_path:
        variables["PYTHONPATH"] = os.pathsep.join(map(str, python_path))
    return variables
