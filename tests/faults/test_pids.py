"""Processes exit and pids are reused during collections: no socket gets a wrong owner."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from .namespaces import can

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")

NAMESPACES = ("unshare", "--pid", "--net", "--fork", "--mount-proc", "--kill-child")
PROGRAM = Path(__file__).with_name("pids.py")


@pytest.mark.skipif(
    not can(*NAMESPACES, "sh", "-c", "echo 300 > /proc/sys/kernel/ns_last_pid"),
    reason="needs unshare (Debian package util-linux), root, and the right to make pid namespaces",
)
def test_reused_pid_is_a_new_process() -> None:
    done = subprocess.run(
        [*NAMESPACES, sys.executable, PROGRAM, "2"], check=True, capture_output=True, text=True, timeout=120
    )
    seen = json.loads(done.stdout)
    assert seen["wrong"] == 0
    # Else it would have tested nothing.
    assert seen["right"] > seen["unknown"]
    assert seen["processes"] > seen["pids"]
