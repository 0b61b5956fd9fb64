"""The project's own suite in Windows' Python."""

from __future__ import annotations

import re
from typing import Final

import pytest

from . import base
from .windows import Windows

pytestmark = pytest.mark.wine

WITHIN: Final = 1200.0
"""In seconds: eight minutes where five other test runs share two cores."""

MIN_PASSED: Final = 3400
"""Fewer tests mean that a folder was not collected."""


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
    """Run pytest in Windows' Python. Return its output, and the tests that failed."""
    options = ["-q", "--tb=short", "-p", "no:cacheprovider"]
    command = ["-m", "pytest", *options, *arguments]
    done = windows.python(*command, cwd=base.ROOT, check=False, timeout=WITHIN)
    output = done.stdout + done.stderr
    failed = re.findall(r"^(?:FAILED|ERROR) (\S.*?)(?: - .*)?$", done.stdout, re.MULTILINE)
    assert done.returncode == (1 if failed else 0), output
    return output, failed
