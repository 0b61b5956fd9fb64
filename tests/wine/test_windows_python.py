"""Windows' Python and the exporter start under Wine."""

from __future__ import annotations

import pytest

from .windows import Windows

pytestmark = pytest.mark.wine


def test_python_is_that_of_windows(windows: Windows) -> None:
    code = "import platform, sys, winreg; print(sys.platform, platform.machine())"
    assert windows.python("-c", code).stdout == "win32 AMD64\n"


def test_exporter_prints_metrics_once(windows: Windows) -> None:
    done = windows.python("-m", "exporter", "--once")
    assert "socket_host_states" in done.stdout
