"""Helpers of the live tests: sockets in known states, the output of `ss`, and that of the exporter."""

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
"""Prefix of a command line that runs it as an unprivileged user, without any capability."""


@contextmanager
def hold_states(namespace: Namespace) -> Iterator[list[Expected]]:
    """Hold sockets in every state in the namespace (live.hold); yield the expected counts.

    `ss` agrees on the number in each state when this returns.
    """
    program = namespace.popen([sys.executable, "-PS", "-m", "live.hold"], env=_environment(_TESTS))
    assert program.stdin is not None
    assert program.stdout is not None
    line = program.stdout.readline()
    if not line:
        raise RuntimeError("live.hold failed: see its message on stderr")
    expected = [Expected(*row) for row in json.loads(line)]
    counted = totals(row for row in expected if row.state != "close")
    wait_until(lambda: _ss_totals(namespace) == counted)
    try:
        yield expected
    finally:
        program.stdin.close()
        program.wait(timeout=10)


def _ss_totals(namespace: Namespace) -> Counter[str]:
    """Return the counts of `ss` by state, without bound-only sockets: it lists them since iproute2 6.15."""
    return Counter(row.state for row in ss_rows(namespace) if row.state != "close")


def wait_until(condition: Callable[[], bool], seconds: float = 5) -> None:
    """Poll until the condition is true, or raise TimeoutError."""
    deadline = monotonic() + seconds
    while not condition():
        if monotonic() > deadline:
            raise TimeoutError(f"the condition is still false after {seconds} s")
        sleep(0.02)


def totals(expected: Iterable[Expected]) -> Counter[str]:
    """Return state -> number of sockets."""
    counts: Counter[str] = Counter()
    for row in expected:
        counts[row.state] += row.sockets
    return counts


def ss_rows(namespace: Namespace, state: str | None = None) -> list[Row]:
    """Return the rows of `ss -Htan` in the namespace; with a state, of `ss -Htan state STATE`."""
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
        """Return the sums of a metric by these labels, over the samples with these label values; no zeros."""
        sums: Counter[tuple[str, ...]] = Counter()
        for sample in self.samples[name]:
            if where.items() <= sample.labels.items():
                sums[tuple(sample.labels[label] for label in labels)] += int(sample.value)
        return +sums

    def states(self) -> Counter[str]:
        """Return socket_host_states, without zeros."""
        return Counter({state: count for (state,), count in self.by("socket_host_states", "state").items()})


def scrape(namespace: Namespace, *flags: str, through: Iterable[str] = ()) -> Scrape:
    """Return the output of `--once` inside the namespace; `through`: the prefix of the command line."""
    argv = [*through, sys.executable, "-P", "-m", "exporter", "--once", "--path.procfs=/proc", *flags]
    return Scrape(namespace.run(argv, env=_environment(*_exporter_root())).stdout)


def explain(
    namespace: Namespace, *flags: str, through: Iterable[str] = ()
) -> subprocess.CompletedProcess[str]:
    """Run `explain` inside the namespace; `through` as for scrape()."""
    argv = [*through, sys.executable, "-P", "-m", "exporter", "explain", *flags]
    return namespace.run(argv, env=_environment(*_exporter_root()), check=False)


@contextmanager
def hold_leak(
    namespace: Namespace, name: str, cause: str, count: int, port: int, limit: int | None = None
) -> Iterator[int]:
    """Run a service that leaks connections (live.leaking_service) in the namespace; yield its pid."""
    arguments = [name, cause, str(count), str(port), *([str(limit)] if limit else [])]
    program = namespace.popen(
        [sys.executable, "-PS", "-m", "live.leaking_service", *arguments], env=_environment(_TESTS)
    )
    assert program.stdin is not None
    assert program.stdout is not None
    if program.stdout.readline() != "ready\n":
        raise RuntimeError("live.leaking_service failed: see its message on stderr")
    try:
        yield program.pid
    finally:
        program.stdin.close()
        program.wait(timeout=10)


@contextmanager
def hold_situation(namespace: Namespace, name: str) -> Iterator[dict[str, int]]:
    """Run a program in a situation (live.situations) in the namespace; yield role -> pid."""
    program = namespace.popen(
        [sys.executable, "-PS", "-m", "live.situations", name], env=_environment(_TESTS)
    )
    assert program.stdin is not None
    assert program.stdout is not None
    line = program.stdout.readline()
    if not line:
        raise RuntimeError("live.situations failed: see its message on stderr")
    try:
        yield json.loads(line)
    finally:
        program.stdin.close()
        program.wait(timeout=10)


def _exporter_root() -> list[Path]:
    """Return the directory from which `exporter` was imported, so that a child process imports the same one
    from any working directory; none for an installed wheel."""
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
