"""`make demo` as a newcomer runs it, and what it leaves behind: nothing."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from ..demo.monitoring import CHECKOUT
from ..live.namespace import Namespace
from ..running import until
from ..tools import require
from .inside import inhabitants, inside, once

pytestmark = [pytest.mark.live, once, require("prometheus", "prometheus-alertmanager")]

COMMAND: Final = (sys.executable, "-m", "tests.demo")
ALL_OF_IT: Final = 180.0
"""It takes some 45 s, and gives up by itself after as long."""
EVERYBODY: Final = {"prometheus", "leaky", "tidy", "visitor", "churny"}
AT_THE_END: Final = "\nEverything is stopped and removed.\n"


@pytest.fixture
def namespace() -> Iterator[Namespace]:
    with inside() as entered:
        yield entered


def start(folder: Path, *flags: str) -> subprocess.Popen[str]:
    """Starts the demo without a terminal; temporary files and what it says go into a folder."""
    (folder / "temporary").mkdir()
    with (folder / "said").open("w") as said:
        return subprocess.Popen(
            [*COMMAND, *flags],
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            text=True,
            cwd=CHECKOUT,
            env={**os.environ, "TMPDIR": str(folder / "temporary")},
        )


def running(namespace: Namespace) -> dict[str, int]:
    """The pids of the demo's programs, once all run."""
    for _ in until("all of the demo runs"):
        pids = {name: pid for pid, name in inhabitants(namespace).items()}
        if pids.keys() >= EVERYBODY:
            return pids
    raise AssertionError


def left_behind(folder: Path, namespace: Namespace) -> list[object]:
    """Its files and processes."""
    return [*(folder / "temporary").iterdir(), *inhabitants(namespace).items()]


def test_an_alert_comes_and_goes(tmp_path: Path, namespace: Namespace) -> None:
    status = start(tmp_path, "--seconds=1").wait(ALL_OF_IT)
    said = (tmp_path / "said").read_text()
    assert status == 0, said
    told = said.index("TICKET firing: CloseWaitStuck (warning) of leaky\n")
    assert "Process leaky on 127.0.0.1:19066 has kept 1" in said[told:], said
    mended = said.index("leaky is mended")
    resolved = said.rindex("TICKET resolved: CloseWaitStuck (warning) of leaky\n")
    assert told < mended < resolved, said
    assert re.search(r"churny has left [1-9]\d* in TIME_WAIT", said[:told]), said
    assert said.endswith(AT_THE_END)
    assert left_behind(tmp_path, namespace) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP], ids=lambda each: each.name)
def test_whoever_stops_it_is_rid_of_it(tmp_path: Path, namespace: Namespace, number: signal.Signals) -> None:
    demo = start(tmp_path)
    running(namespace)
    demo.send_signal(number)
    assert demo.wait(ALL_OF_IT) == 130
    assert (tmp_path / "said").read_text().endswith(AT_THE_END)
    assert left_behind(tmp_path, namespace) == []


def test_a_program_that_fails_ends_it_with_all_that_is_known(tmp_path: Path, namespace: Namespace) -> None:
    demo = start(tmp_path)
    os.kill(running(namespace)["visitor"], signal.SIGKILL)
    assert demo.wait(ALL_OF_IT) == 1
    said = (tmp_path / "said").read_text()
    assert "visitor ended before CloseWaitStuck fires for leaky\n--- alerts in Prometheus: {" in said
    assert said.endswith(AT_THE_END)
    assert left_behind(tmp_path, namespace) == []


def test_whoever_kills_it_is_rid_of_its_programs(tmp_path: Path, namespace: Namespace) -> None:
    demo = start(tmp_path)
    running(namespace)
    demo.kill()
    demo.wait(ALL_OF_IT)
    for _ in until("its programs have ended"):
        if not inhabitants(namespace):
            break
