"""Processes through psutil: what it raises never escapes, whenever a process goes."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Final, TypeVar

import psutil
import pytest

from exporter.model.process import Process, ProcessId
from exporter.portable.psutil_process import PsutilProcessReader

from ..systems import unless_wine

T = TypeVar("T")

PID: Final = 4711
STARTED: Final = 1_700_000_123.25

Failure = psutil.Error | OSError
GONE: Final = psutil.NoSuchProcess(PID)


class StandIn:
    """A process as psutil shows it on Windows; fails from the given question on, counted from 1."""

    def __init__(self, fails_at: int | None = None, failure: Failure = GONE, only: bool = False) -> None:
        self.asked = 0
        self._fails_at = fails_at
        self._failure = failure
        self._only = only

    def __call__(self, pid: int) -> StandIn:
        assert pid == PID
        return self._answer(self)

    def create_time(self) -> float:
        return self._answer(STARTED)

    def name(self) -> str:
        return self._answer("spoolsv.exe")

    def cmdline(self) -> list[str]:
        return self._answer([r"C:\Windows\System32\spoolsv.exe"])

    def username(self) -> str:
        return self._answer(r"NT AUTHORITY\SYSTEM")

    def cwd(self) -> str:
        return self._answer(r"C:\Windows\system32")

    def _answer(self, answer: T) -> T:
        self.asked += 1
        if self._fails_at is not None and (
            self.asked == self._fails_at if self._only else self.asked >= self._fails_at
        ):
            raise self._failure
        return answer


@pytest.fixture
def become(monkeypatch: pytest.MonkeyPatch) -> Callable[[StandIn], StandIn]:
    def become(stand_in: StandIn) -> StandIn:
        monkeypatch.setattr(psutil, "Process", stand_in)
        return stand_in

    return become


Become = Callable[[StandIn], StandIn]


def test_attributes_come_from_psutil(become: Become) -> None:
    become(StandIn())
    assert PsutilProcessReader().identify(PID) == (ProcessId(PID, STARTED), "spoolsv")
    assert PsutilProcessReader().describe(PID, details=False) == Process(PID, STARTED, "spoolsv")
    assert PsutilProcessReader().describe(PID, details=True) == Process(
        PID,
        STARTED,
        "spoolsv",
        cmdline=(r"C:\Windows\System32\spoolsv.exe",),
        username=r"NT AUTHORITY\SYSTEM",
        cwd=r"C:\Windows\system32",
    )


def questions(become: Become) -> int:
    """Return the number of queries for a full description."""
    stand_in = become(StandIn())
    PsutilProcessReader().describe(PID, details=True)
    return stand_in.asked


@pytest.mark.parametrize("failure", [GONE, psutil.ZombieProcess(PID), psutil.AccessDenied(PID)])
def test_failures_of_psutil_are_os_errors_or_empty_attributes(become: Become, failure: psutil.Error) -> None:
    expected = PermissionError if isinstance(failure, psutil.AccessDenied) else ProcessLookupError
    for at in range(1, questions(become) + 1):
        for only in (False, True):
            become(StandIn(at, failure, only))
            try:
                described = PsutilProcessReader().describe(PID, details=True)
            except expected:
                continue
            assert described.comm == "spoolsv"


@pytest.mark.parametrize("failure", [psutil.AccessDenied(PID), OSError(31, "a device is not functioning")])
def test_unreadable_attributes_are_empty(become: Become, failure: Failure) -> None:
    all_asked = questions(become)
    become(StandIn(all_asked - 2, failure))
    assert PsutilProcessReader().describe(PID, details=True) == Process(PID, STARTED, "spoolsv")


@unless_wine("psutil cannot read the name of a process")
def test_own_process_is_described() -> None:
    described = PsutilProcessReader().describe(os.getpid(), details=True)
    assert described.pid == os.getpid()
    assert described.started_at == psutil.Process().create_time()
    assert described.cmdline == tuple(psutil.Process().cmdline())


def test_unused_pid_raises() -> None:
    free = max(psutil.pids()) + 1_000_000
    with pytest.raises(ProcessLookupError):
        PsutilProcessReader().identify(free)
    with pytest.raises(ProcessLookupError):
        PsutilProcessReader().describe(free, details=True)
