"""Who reads the sockets: each is measured once a round, and says why when it cannot be."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from .command import Command, run
from .measurement import Measurement
from .programs import NODE_EXPORTER, compiled, why_missing
from .servers import COLD_EXPORTER_PORT, Server, exporter, node_exporter

FLOOR: Final = "C reader of the dump"
WARM: Final = "this exporter, warm"
COLD: Final = "this exporter, first scrape"
TCPSTAT: Final = "node_exporter tcpstat"
SS: Final = "ss -tan"
SS_PROCESSES: Final = "ss -tanp"
PSUTIL: Final = "psutil.net_connections"

NAMES: Final = (FLOOR, WARM, COLD, TCPSTAT, SS, SS_PROCESSES, PSUTIL)

_PSUTIL: Final = Path(__file__).with_name("psutil_call.py")


class Contenders(NamedTuple):
    """How to measure each, the two exporters running, and why some are absent."""

    measured: dict[str, Callable[[], Measurement]]
    exporter: Server
    node_exporter: Server | None


def absent() -> dict[str, str]:
    """Contender -> why it cannot be measured on this host."""
    needs = {FLOOR: "cc", TCPSTAT: NODE_EXPORTER, SS: "ss", SS_PROCESSES: "ss"}
    return {name: why for name, program in needs.items() if (why := why_missing(program))}


@contextmanager
def started() -> Iterator[Contenders]:
    """All that this host has, the servers among them running and scraped once: warm."""
    with ExitStack() as stack:
        ours = stack.enter_context(exporter())
        ours.scrape()
        theirs = None if why_missing(NODE_EXPORTER) else stack.enter_context(node_exporter())
        if theirs:
            theirs.scrape()
        yield Contenders(dict(_measured(ours, theirs)), ours, theirs)


def cold() -> Measurement:
    """The first scrape of an exporter that has just started."""
    with exporter(COLD_EXPORTER_PORT) as server:
        return server.scrape()


def _measured(ours: Server, theirs: Server | None) -> Iterator[tuple[str, Callable[[], Measurement]]]:
    if compiled("floor"):
        yield FLOOR, _floor
    yield WARM, ours.scrape
    yield COLD, cold
    if theirs:
        yield TCPSTAT, theirs.scrape
    if not why_missing("ss"):
        yield SS, lambda: run("ss", "-tan").whole
        yield SS_PROCESSES, lambda: run("ss", "-tanp").whole
    yield PSUTIL, _psutil


def _floor() -> Measurement:
    return _by_its_own_clock(run(str(compiled("floor")), read=True))


def _psutil() -> Measurement:
    return _by_its_own_clock(run(sys.executable, "-I", str(_PSUTIL), read=True))


def _by_its_own_clock(command: Command) -> Measurement:
    """What the program says its work took, without its own start; the memory of the whole."""
    said = json.loads(command.printed)
    return Measurement(said["seconds"], said["cpu_seconds"], command.whole.resident_bytes)
