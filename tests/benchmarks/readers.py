"""The programs that read sockets: each is measured once per round, or absent with a reason."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from .command import Command, run
from .measurement import Measurement
from .programs import NODE_EXPORTER, compile_c, missing_reason
from .servers import COLD_EXPORTER_PORT, Server, exporter, node_exporter

BASELINE: Final = "C reader of the dump"
WARM: Final = "this exporter, warm"
COLD: Final = "this exporter, first scrape"
TCPSTAT: Final = "node_exporter tcpstat"
SS: Final = "ss -tan"
SS_PROCESSES: Final = "ss -tanp"
PSUTIL: Final = "psutil.net_connections"

NAMES: Final = (BASELINE, WARM, COLD, TCPSTAT, SS, SS_PROCESSES, PSUTIL)

_PSUTIL: Final = Path(__file__).with_name("psutil_call.py")


class Readers(NamedTuple):
    """Functions that measure each reader, and the two running exporters."""

    measured: dict[str, Callable[[], Measurement]]
    exporter: Server
    node_exporter: Server | None


def absent() -> dict[str, str]:
    """Return reader -> why it cannot be measured on this host."""
    needs = {BASELINE: "cc", TCPSTAT: NODE_EXPORTER, SS: "ss", SS_PROCESSES: "ss"}
    return {name: why for name, program in needs.items() if (why := missing_reason(program))}


@contextmanager
def started() -> Iterator[Readers]:
    """Start the available readers; the servers are scraped once, so that they are warm."""
    with ExitStack() as stack:
        ours = stack.enter_context(exporter())
        ours.scrape()
        theirs = None if missing_reason(NODE_EXPORTER) else stack.enter_context(node_exporter())
        if theirs:
            theirs.scrape()
        yield Readers(dict(_measure(ours, theirs)), ours, theirs)


def cold() -> Measurement:
    """Measure the first scrape of a newly started exporter."""
    with exporter(COLD_EXPORTER_PORT) as server:
        return server.scrape()


def _measure(ours: Server, theirs: Server | None) -> Iterator[tuple[str, Callable[[], Measurement]]]:
    if compile_c("baseline"):
        yield BASELINE, _run_baseline
    yield WARM, ours.scrape
    yield COLD, cold
    if theirs:
        yield TCPSTAT, theirs.scrape
    if not missing_reason("ss"):
        yield SS, lambda: run("ss", "-tan").whole
        yield SS_PROCESSES, lambda: run("ss", "-tanp").whole
    yield PSUTIL, _psutil


def _run_baseline() -> Measurement:
    return _self_reported(run(str(compile_c("baseline")), read=True))


def _psutil() -> Measurement:
    return _self_reported(run(sys.executable, "-I", str(_PSUTIL), read=True))


def _self_reported(command: Command) -> Measurement:
    """Return the times that the program reports, without its start, and its peak memory."""
    said = json.loads(command.printed)
    return Measurement(said["seconds"], said["cpu_seconds"], command.whole.resident_bytes)
