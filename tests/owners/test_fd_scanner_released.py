"""Sockets that their process let go, mostly to a child: a walk looks after them in turn."""

from __future__ import annotations

import errno
import sys

import pytest

from exporter.owners.fd_scanner import FdScanner

from ..procfs.trees import Tree, Watch
from .hosts import found, let_go

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")


def test_they_are_noticed_at_once_where_there_are_few(warm_scanner: FdScanner, tree: Tree) -> None:
    assert let_go(warm_scanner) == []
    tree.close(10, 3)
    tree.hold(30, 4, 777)
    assert sorted(let_go(warm_scanner)) == [(101, 10), (302, 30)]
    assert let_go(warm_scanner) == []


def test_they_are_no_sockets_that_moved_within_their_process(warm_scanner: FdScanner, tree: Tree) -> None:
    tree.close(10, 3)
    tree.hold(10, 4, 101)
    assert let_go(warm_scanner) == [(102, 10)]


def test_they_are_looked_for_in_turn_where_there_are_many(
    warm_scanner: FdScanner, tree: Tree, watch: Watch
) -> None:
    for pid in (50, 60):
        tree.process(pid, *(pid * 1000 + number for number in range(300)))
    found(warm_scanner, {999})
    watch.links()
    rounds = []
    for _ in range(24):
        assert let_go(warm_scanner) == []
        rounds.append(watch.links())
    assert max(map(len, rounds)) <= 32
    assert {link for links in rounds for link in links} == {
        *((pid, number) for pid in (10, 20, 30) for number in (3, 4)),
        *((pid, number) for pid in (50, 60) for number in range(3, 303)),
    }


def test_they_cost_nothing_where_nothing_was_walked(scanner: FdScanner, watch: Watch) -> None:
    assert let_go(scanner) == []
    assert watch.links() == []


def test_they_do_not_fail_for_a_process_that_is_gone(warm_scanner: FdScanner, tree: Tree) -> None:
    tree.kill(10)
    tree.close(20, 3)
    assert let_go(warm_scanner) == [(201, 20)]
    assert let_go(warm_scanner) == []


def test_they_do_not_fail_for_a_process_that_refuses(
    warm_scanner: FdScanner, tree: Tree, watch: Watch
) -> None:
    def refuse(pid: int, _: int) -> None:
        if pid == 10:
            raise PermissionError(errno.EACCES, "refused")

    watch.hook = refuse
    tree.close(20, 3)
    assert let_go(warm_scanner) == [(201, 20)]
