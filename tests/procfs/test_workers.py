"""Workers are the children with the comm of their master."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from exporter.procfs.workers import read_workers

from .trees import Tree

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")


def master(tree: Tree, *children: int, comm: str = "nginx") -> None:
    tree.process(30, comm=comm)
    directory = tree.root / "30/task/30"
    directory.mkdir(parents=True)
    (directory / "children").write_text("".join(f"{child} " for child in children))


def test_children_with_the_same_comm_are_workers(tree: Tree) -> None:
    master(tree, 33, 31, 32, 34)
    for pid, comm in ((31, "nginx"), (32, "logger"), (33, "nginx")):  # 34 has exited
        tree.process(pid, comm=comm)
    assert read_workers(tree.root, 30) == [31, 33]


def test_process_without_children_has_no_workers(tree: Tree) -> None:
    master(tree)
    assert read_workers(tree.root, 30) == []


@pytest.mark.parametrize("comm", ["systemd", "init"])
def test_service_manager_has_no_workers(tree: Tree, comm: str) -> None:
    master(tree, 31, comm=comm)
    tree.process(31, comm=comm)
    assert read_workers(tree.root, 30) == []


def test_raises_without_process_or_list_of_children(tree: Tree) -> None:
    with pytest.raises(OSError, match="30"):
        read_workers(tree.root, 30)
    tree.process(30)
    with pytest.raises(OSError, match="children"):
        read_workers(tree.root, 30)


def test_children_of_this_process() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        comm = Path("/proc/self/comm").read_text()
        is_worker = Path(f"/proc/{child.pid}/comm").read_text() == comm
        assert (child.pid in read_workers(Path("/proc"), os.getpid())) is is_worker
        assert child.stdin
        child.stdin.close()
