"""The project's own suite in Windows' Python."""

from __future__ import annotations

import re
from typing import Final

import pytest

from . import base
from .windows import Windows

pytestmark = pytest.mark.wine

WITHIN: Final = 1200.0
"""In seconds: three minutes on an idle machine with two cores."""

MIN_PASSED: Final = 3400
"""Fewer tests mean that a folder was not collected."""

GAPS: Final = (
    # Python's Proactor loop shuts a connection down before it closes it: under Wine the peer gets a FIN, in
    # spite of SO_LINGER, instead of a RST.
    "tests/http/test_connection.py::TestProtocol::test_too_large_body_is_413",
    "tests/http/test_connection.py::TestProtocol::test_rejected_body_of_head_has_no_response_body",
    "tests/http/test_connection.py::TestTimeouts::test_incomplete_request_is_reset",
    "tests/http/test_connection.py::TestTimeouts::test_incomplete_body_is_reset",
    "tests/http/test_connection.py::TestTimeouts::test_later_request_has_its_own_timeout",
    "tests/http/test_connection.py::TestTimeouts::test_idle_and_slow_collection_exceed_request_timeout",
    "tests/http/test_connection.py::TestTimeouts::test_response_read_late_keeps_connection",
    "tests/http/test_connection_limit.py::TestEviction::",
    "tests/http/test_server.py::TestTimeWait::test_evicted_and_timed_out_connections_leave_none",
    # psutil's pids of accepted connections come and go under Wine.
    "tests/http/test_connection.py::TestProtocol::test_client_that_gives_up_is_noticed_during_a_collection",
    "tests/http/test_connection.py::TestProtocol::test_client_that_resets_during_a_response_is_not_logged",
)
"""Beginnings of the names of tests that may fail under Wine."""


def test_suite_passes(windows: Windows) -> None:
    output, failed = run(windows, "tests", "--numprocesses=2", "--dist=loadfile")
    passed = re.search(r"(\d+) passed", output)
    assert passed, output
    assert int(passed[1]) >= MIN_PASSED
    if failed:
        # Wine's processes take seconds to start on a busy machine, longer than some tests wait.
        output, failed = run(windows, *failed)
    assert failed == [], output


def run(windows: Windows, *arguments: str) -> tuple[str, list[str]]:
    """Run pytest in Windows' Python. Return its output, and the tests that failed and should not."""
    options = ["-q", "--tb=short", "-p", "no:cacheprovider"]
    command = ["-m", "pytest", *options, *arguments]
    done = windows.python(*command, cwd=base.ROOT, check=False, timeout=WITHIN)
    failed = re.findall(r"^(?:FAILED|ERROR) (\S.*?)(?: - .*)?$", done.stdout, re.MULTILINE)
    return done.stdout + done.stderr, [name for name in failed if not name.startswith(GAPS)]
