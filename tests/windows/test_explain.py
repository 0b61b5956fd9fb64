"""The report on a simulated Windows, from the TCP tables to the text: what Wine cannot show.

Wine has neither the creation times of connections nor the services of single sockets.
"""

from __future__ import annotations

import time
from typing import Final

from exporter.diagnosis.finding import DiagnosisInput, Finding
from exporter.diagnosis.report import find_problems
from exporter.windows.process_table import FILETIME_PER_SECOND, FILETIME_UNIX_EPOCH

from .hosts import APP, BFE, SHARED, Host
from .rows import CLOSE_WAIT, Row
from .test_collection import tracker

DAY: Final = 86_400


def report_on(pid: int, tag: int = 0) -> Finding:
    """Return the finding on 150 connections of this process, of which the first was opened 3 days ago."""
    now = FILETIME_UNIX_EPOCH + int(time.time() * FILETIME_PER_SECOND)
    first = now - 3 * DAY * FILETIME_PER_SECOND
    rows = [
        Row(
            CLOSE_WAIT,
            "10.0.0.1",
            50_000 + n,
            "10.0.0.9",
            9100,
            pid,
            first + n * FILETIME_PER_SECOND,
            tag=tag,
        )
        for n in range(150)
    ]
    snapshot = tracker(Host(), *rows).snapshot()
    (finding,) = find_problems(DiagnosisInput(snapshot, windows=True))
    return finding


def test_leak_is_as_old_as_its_first_connection_at_most() -> None:
    finding = report_on(APP)
    assert finding.title == (
        "app (pid 1100) has 150 connections that the servers it called on port 9100 have closed, "
        "opened up to 3 d ago"
    )
    assert finding.opened_seconds is not None
    assert 3 * DAY <= finding.opened_seconds < 3 * DAY + 60


def test_service_of_a_shared_process_is_restarted_and_its_process_is_not_ended() -> None:
    finding = report_on(SHARED, BFE)
    assert finding.title.startswith("svchost:BFE (pid 800) has 150 connections")
    steps = " ".join(finding.steps)
    assert "`Restart-Service BFE`" in steps
    assert "Stop-Process" not in steps
