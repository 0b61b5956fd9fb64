"""Descriptor directories of threads: /proc/PID/task/TID/fd (proc_pid_task(5))."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Final

# A directory has two links, and one for each subdirectory: /proc/PID/task has one for each thread.
_LINKS_OF_ONE_THREAD: Final = 3


def list_other_threads(procfs: Path | str, pid: int) -> list[int]:
    """Return the thread ids of a process, without the main thread, in ascending order.

    A process with one thread costs one stat(2). Raises OSError if there is no such process.
    """
    directory = f"{procfs}/{pid}/task"
    if os.stat(directory).st_nlink == _LINKS_OF_ONE_THREAD:
        return []
    return sorted(int(name) for name in os.listdir(directory) if name.isdigit() and int(name) != pid)


def find_thread_with_fds(procfs: Path | str, pid: int) -> int | None:
    """Return a thread, other than the main one, with open descriptors; None if no thread has any.

    After the main thread has exited (pthread_exit() in main()), /proc/PID/fd is empty, and belongs to root:
    it refers to the main thread, whose descriptor table is gone. The other threads still have theirs.
    """
    with suppress(OSError):
        for tid in list_other_threads(procfs, pid):
            with suppress(FileNotFoundError, ProcessLookupError):
                if _has_fds(f"{procfs}/{pid}/task/{tid}/fd"):
                    return tid
    return None


def _has_fds(directory: str) -> bool:
    with os.scandir(directory) as entries:
        return next(entries, None) is not None
