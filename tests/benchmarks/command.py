"""Runs programs to completion and measures their output, time and memory."""

from __future__ import annotations

import os
import subprocess
import time
from typing import NamedTuple

from .measurement import Measurement
from .programs import compile_c

_KIBIBYTE = 1024


class Command(NamedTuple):
    """Output of a program, and the cost of the whole process."""

    printed: str
    whole: Measurement


def run(*words: str, read: bool = False) -> Command:
    """Run a program to completion. Its output is discarded unless `read`."""
    reader, writer = os.pipe()
    with os.fdopen(reader) as told:
        start = time.perf_counter()
        try:
            process = subprocess.Popen(
                [*_peak_memory_command(writer), *words],
                stdout=subprocess.PIPE if read else subprocess.DEVNULL,
                text=True,
                pass_fds=[writer],
            )
        finally:
            os.close(writer)
        printed, cpu_seconds = _wait(process)
        seconds = time.perf_counter() - start
        if process.returncode:
            raise RuntimeError(f"{' '.join(words)} ended with {process.returncode}")
        return Command(printed, Measurement(seconds, cpu_seconds, int(told.read() or 0) * _KIBIBYTE or None))


def _peak_memory_command(descriptor: int) -> list[str]:
    """Return the command prefix that reports peak memory; empty without a C compiler."""
    peak = compile_c("peak_memory")
    return [peak, str(descriptor)] if peak else []


def _wait(process: subprocess.Popen[str]) -> tuple[str, float]:
    """Wait for a process; return its output, and the CPU seconds of it and its children."""
    printed = ""
    if process.stdout:
        with process.stdout:
            printed = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return printed, usage.ru_utime + usage.ru_stime
