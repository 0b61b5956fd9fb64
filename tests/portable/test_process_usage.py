"""Resource usage of this process, compared with the kernel's."""

from __future__ import annotations

import os
import sys
import time

import psutil
import pytest

from exporter.portable.process_usage import read_own_usage


def test_usage_is_that_of_this_process() -> None:
    usage = read_own_usage()
    assert 0 < usage.cpu_seconds <= sum(os.times()[:2]) + 1
    assert 1e6 < usage.resident_bytes
    assert 0 < usage.start_time <= time.time()
    if sys.platform == "linux":
        assert abs(usage.open_fds - len(os.listdir("/proc/self/fd"))) <= 2  # noqa: PTH208  # a count


def test_error_of_psutil_is_an_oserror(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> psutil.Process:
        raise psutil.AccessDenied

    monkeypatch.setattr(psutil, "Process", refuse)
    with pytest.raises(OSError, match="AccessDenied"):
        read_own_usage()
