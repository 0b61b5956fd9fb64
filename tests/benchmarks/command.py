"""Programs that run to their end: what they print and use."""

from __future__ import annotations

import os
import subprocess
import time
from typing import NamedTuple

from .measurement import Measurement
from .programs import compiled

_KIBIBYTE = 1024


class Command(NamedTuple):
    """What a program printed, and what the whole of it cost."""

    printed: str
    whole: Measurement


def run(*words: str, read: bool = False) -> Command:
    """Runs a program to its end. What it prints is thrown away unless it is to be read."""
    reader, writer = os.pipe()
    with os.fdopen(reader) as told:
        start = time.perf_counter()
        try:
            process = subprocess.Popen(
                [*_telling_memory(writer), *words],
                stdout=subprocess.PIPE if read else subprocess.DEVNULL,
                text=True,
                pass_fds=[writer],
            )
        finally:
            os.close(writer)
        printed, cpu_seconds = _ended(process)
        seconds = time.perf_counter() - start
        if process.returncode:
            raise RuntimeError(f"{' '.join(words)} ended with {process.returncode}")
        return Command(printed, Measurement(seconds, cpu_seconds, int(told.read() or 0) * _KIBIBYTE or None))


def _telling_memory(descriptor: int) -> list[str]:
    """What to put before a command so that it tells its largest memory; nothing without a C compiler."""
    peak = compiled("peak")
    return [peak, str(descriptor)] if peak else []


def _ended(process: subprocess.Popen[str]) -> tuple[str, float]:
    """What it printed, and the CPU seconds of it and its children."""
    printed = ""
    if process.stdout:
        with process.stdout:
            printed = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return printed, usage.ru_utime + usage.ru_stime
