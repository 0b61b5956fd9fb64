"""Descriptor directories of threads."""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path

import pytest

from exporter.procfs.thread_fds import find_thread_with_fds, list_other_threads

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")

PID = 500


@pytest.fixture
def task(tmp_path: Path) -> Path:
    """Return the directory of threads of a process whose main thread has exited."""
    (tmp_path / str(PID) / "fd").mkdir(parents=True)
    directory = tmp_path / str(PID) / "task"
    start(directory, PID)
    return directory


def start(task: Path, tid: int, *fds: int) -> None:
    directory = task / str(tid) / "fd"
    directory.mkdir(parents=True)
    for fd in fds:
        (directory / str(fd)).symlink_to("/dev/null")


def test_threads_are_listed_without_the_main_one(tmp_path: Path, task: Path) -> None:
    assert list_other_threads(tmp_path, PID) == []
    for tid in (1002, 501):
        start(task, tid)
    assert list_other_threads(tmp_path, PID) == [501, 1002]


def test_first_thread_with_descriptors_is_found(tmp_path: Path, task: Path) -> None:
    assert find_thread_with_fds(tmp_path, PID) is None
    start(task, 501)
    start(task, 502, 0, 1)
    assert find_thread_with_fds(tmp_path, PID) == 502


def test_vanished_process_has_no_thread(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        list_other_threads(tmp_path, PID)
    assert find_thread_with_fds(tmp_path, PID) is None


def test_own_threads_are_listed() -> None:
    finished = threading.Event()
    thread = threading.Thread(target=finished.wait)
    thread.start()
    try:
        assert thread.native_id in list_other_threads("/proc", os.getpid())
        assert find_thread_with_fds("/proc", os.getpid()) is not None
    finally:
        finished.set()
        thread.join()
