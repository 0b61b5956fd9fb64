"""Sockets that their process released, mostly to a child: some descriptors are re-read in each call."""

from __future__ import annotations

import errno
import sys

import pytest

from exporter.owners.fd_scanner import FdScanner

from ..procfs.trees import Tree, Watch
from .hosts import found, released

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")


def test_few_sockets_are_checked_in_one_call(warm_scanner: FdScanner, tree: Tree) -> None:
    assert released(warm_scanner) == []
    tree.close(10, 3)
    tree.hold(30, 4, 777)
    assert sorted(released(warm_scanner)) == [(101, 10), (302, 30)]
    assert released(warm_scanner) == []


def test_socket_moved_within_its_process_is_not_released(warm_scanner: FdScanner, tree: Tree) -> None:
    tree.close(10, 3)
    tree.hold(10, 4, 101)
    assert released(warm_scanner) == [(102, 10)]


def test_many_sockets_are_checked_in_turn(warm_scanner: FdScanner, tree: Tree, watch: Watch) -> None:
    for pid in (50, 60):
        tree.process(pid, *(pid * 1000 + number for number in range(300)))
    found(warm_scanner, {999})
    watch.links()
    rounds = []
    for _ in range(24):
        assert released(warm_scanner) == []
        rounds.append(watch.links())
    assert max(map(len, rounds)) <= 32
    assert {link for links in rounds for link in links} == {
        *((pid, number) for pid in (10, 20, 30) for number in (3, 4)),
        *((pid, number) for pid in (50, 60) for number in range(3, 303)),
    }


def test_nothing_is_read_before_a_scan(scanner: FdScanner, watch: Watch) -> None:
    assert released(scanner) == []
    assert watch.links() == []


def test_vanished_process_does_not_raise(warm_scanner: FdScanner, tree: Tree) -> None:
    tree.kill(10)
    tree.close(20, 3)
    assert released(warm_scanner) == [(201, 20)]
    assert released(warm_scanner) == []


def test_unreadable_process_does_not_raise(warm_scanner: FdScanner, tree: Tree, watch: Watch) -> None:
    def refuse(pid: int, _: int) -> None:
        if pid == 10:
            raise PermissionError(errno.EACCES, "refused")

    watch.hook = refuse
    tree.close(20, 3)
    assert released(warm_scanner) == [(201, 20)]
