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
DEMO_TIMEOUT: Final = 180.0
"""Timeout in seconds; the demo takes about 45 s."""
ALL_PROGRAMS: Final = {"prometheus", "leaky", "tidy", "visitor", "churny"}
AT_THE_END: Final = "\nEverything is stopped and removed.\n"


@pytest.fixture
def namespace() -> Iterator[Namespace]:
    with inside() as entered:
        yield entered


def start(folder: Path, *flags: str) -> subprocess.Popen[str]:
    """Start the demo without a terminal, with its temporary files and output in `folder`."""
    (folder / "temporary").mkdir()
    with (folder / "output").open("w") as output:
        return subprocess.Popen(
            [*COMMAND, *flags],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            text=True,
            cwd=CHECKOUT,
            env={**os.environ, "TMPDIR": str(folder / "temporary")},
        )


def running(namespace: Namespace) -> dict[str, int]:
    """Wait for all of the demo's programs and return their pids."""
    for _ in until("all programs of the demo run"):
        pids = {name: pid for pid, name in inhabitants(namespace).items()}
        if pids.keys() >= ALL_PROGRAMS:
            return pids
    raise AssertionError


def left_behind(folder: Path, namespace: Namespace) -> list[object]:
    """Return files and processes that the demo has left."""
    return [*(folder / "temporary").iterdir(), *inhabitants(namespace).items()]


def test_demo_alert_fires_and_resolves(tmp_path: Path, namespace: Namespace) -> None:
    status = start(tmp_path, "--seconds=1").wait(DEMO_TIMEOUT)
    output = (tmp_path / "output").read_text()
    assert status == 0, output
    fired = output.index("TICKET firing: CloseWaitStuck (warning) of leaky\n")
    assert "Process leaky on 127.0.0.1:19066 has kept 1" in output[fired:], output
    fixed = output.index("leaky is fixed")
    resolved = output.rindex("TICKET resolved: CloseWaitStuck (warning) of leaky\n")
    assert fired < fixed < resolved, output
    assert re.search(r"churny has left [1-9]\d* in TIME_WAIT", output[:fired]), output
    assert output.endswith(AT_THE_END)
    assert left_behind(tmp_path, namespace) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP], ids=lambda each: each.name)
def test_interrupted_demo_leaves_no_files_or_programs(
    tmp_path: Path, namespace: Namespace, number: signal.Signals
) -> None:
    demo = start(tmp_path)
    running(namespace)
    demo.send_signal(number)
    assert demo.wait(DEMO_TIMEOUT) == 130
    assert (tmp_path / "output").read_text().endswith(AT_THE_END)
    assert left_behind(tmp_path, namespace) == []


def test_demo_reports_a_failing_program(tmp_path: Path, namespace: Namespace) -> None:
    demo = start(tmp_path)
    os.kill(running(namespace)["visitor"], signal.SIGKILL)
    assert demo.wait(DEMO_TIMEOUT) == 1
    output = (tmp_path / "output").read_text()
    assert "visitor ended before CloseWaitStuck fires for leaky\n--- alerts in Prometheus: {" in output
    assert output.endswith(AT_THE_END)
    assert left_behind(tmp_path, namespace) == []


def test_killed_demo_leaves_no_programs(tmp_path: Path, namespace: Namespace) -> None:
    demo = start(tmp_path)
    running(namespace)
    demo.kill()
    demo.wait(DEMO_TIMEOUT)
    for _ in until("its programs have ended"):
        if not inhabitants(namespace):
            break
