"""Descriptors that other processes read for us: the same as we would have read."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from exporter.sources import survey as module
from exporter.sources import surveyor
from exporter.sources.descriptors import DescriptorTable
from exporter.sources.survey import Survey

from .trees import Tree

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")

HOLDING = """
import socket, sys
held = [socket.socket() for _ in range(1000)]
for gone in held[10:500:7]:
    gone.close()
print(flush=True)
sys.stdin.read()
"""


@pytest.fixture
def holders() -> Iterator[list[int]]:
    """Processes with sockets, and gaps between them."""
    with ExitStack() as stack:
        found = []
        for _ in range(3):
            process = stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-c", HOLDING], stdin=subprocess.PIPE, stdout=subprocess.PIPE
                )
            )
            assert process.stdout
            process.stdout.readline()
            found.append(process.pid)
        yield found


def read_here(procfs: Path, pid: int) -> DescriptorTable:
    table = DescriptorTable(procfs, pid)
    for _ in table.everything():
        pass
    return table


def test_what_is_told_is_what_we_would_have_read(holders: list[int]) -> None:
    procfs = Path("/proc")
    tables = Survey(procfs, dict.fromkeys(holders, 1000)).tables()
    assert sorted(tables) == sorted(holders)
    for pid, table in tables.items():
        assert len(table.held()) == 1000 - len(range(10, 500, 7))
        assert table.packed() == read_here(procfs, pid).packed()
        assert table.is_unchanged() == (table.now_open() > 0)


def test_who_is_gone_or_refuses_is_left_out(tree: Tree) -> None:
    tree.process(10, 101, 102)
    tree.process(20, 201)
    (tree.root / "20" / "fd").rename(tree.root / "20" / "elsewhere")
    tables = Survey(tree.root, {10: 5, 20: 4, 30: 3}).tables()
    assert {pid: table.held() for pid, table in tables.items()} == {10: {101, 102}}


@pytest.mark.parametrize("interpreter", ["/nowhere/python", "/bin/false"])
def test_without_another_process_nothing_is_known(
    tree: Tree, monkeypatch: pytest.MonkeyPatch, interpreter: str
) -> None:
    tree.process(10, 101)
    monkeypatch.setattr(sys, "executable", interpreter)
    assert Survey(tree.root, {10: 4}).tables() == {}


def test_who_is_killed_tells_nothing_and_the_others_all(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(2))
    tree.process(10, 101)
    tree.process(20, 201)
    dies = "import os, sys; os.kill(os.getpid(), 9) if sys.argv[3] == '10' else None;"
    monkeypatch.setattr(module, "_PROGRAM", dies + module._PROGRAM)  # noqa: SLF001  # no other way to kill it
    assert list(Survey(tree.root, {10: 4, 20: 4}).tables()) == [20]


def test_one_that_is_ended_leaves_no_process(holders: list[int]) -> None:
    survey = Survey(Path("/proc"), dict.fromkeys(holders, 1000))
    started = [process.pid for process in survey._surveyors]  # noqa: SLF001  # they are told nowhere else
    assert started
    survey.end()
    for pid in started:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_the_work_is_shared_out_evenly() -> None:
    shares = module._shares({1: 100, 2: 90, 3: 50, 4: 40, 5: 30}, 2)  # noqa: SLF001  # a matter of time only
    assert shares == [[1, 4, 5], [2, 3]]


def test_a_surveyor_starts_with_little() -> None:
    """Or the survey would begin when it should be over."""
    says = f"import {surveyor.__name__}; print(*sys.modules)"
    root = Path(surveyor.__file__).parents[2]
    command = [sys.executable, "-I", "-S", "-c", f"import sys; sys.path.append({str(root)!r}); {says}"]
    loaded = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    dear = {"pathlib", "logging", "subprocess", "threading", "psutil", "prometheus_client"}
    assert dear.isdisjoint(loaded)


def test_sockets_are_held_by_us_only() -> None:
    """A surveyor that inherited ours would be among their owners."""
    with socket.socket() as ours:
        os.set_inheritable(ours.fileno(), True)
        (table,) = Survey(Path("/proc"), {os.getpid(): 10}).tables().values()
        assert os.fstat(ours.fileno()).st_ino in table.held()
