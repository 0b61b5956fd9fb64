"""Inodes without a process are searched for again with a growing delay."""

from __future__ import annotations

import sys
from itertools import count

import pytest

from exporter.model.process import Owner, Unowned

from ..procfs.trees import Clock, Tree, Watch
from .hosts import Host

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")

LOST, NEW = 999, 777
IN_ROTATION = [(pid, number) for pid in (10, 20, 30) for number in (3, 4)]
"""The sockets that are known, so few that each collection reads them again."""


def waited(host: Host, clock: Clock) -> float:
    """Return the seconds until refresh() starts a retry."""
    started = clock.now
    while Unowned.NOT_FOUND not in host.owners.refresh():
        clock.now += 5
        assert clock.now - started <= 10 * 300
    return clock.now - started


def test_unresolved_inode_is_not_searched_for_immediately(warm: Host, watch: Watch) -> None:
    warm.resolve(LOST)
    watch.links()
    asked = warm.asked_for_live
    for _ in range(3):
        assert warm.owners.refresh() == set()
        watch.links()
        assert warm.resolve(LOST) == [Unowned.NOT_FOUND]
        assert watch.links() == IN_ROTATION
    assert warm.asked_for_live == asked


def test_unresolved_inode_is_found_by_a_retry(warm: Host, tree: Tree, clock: Clock) -> None:
    assert warm.pids(LOST) == [None]
    tree.process(40, LOST)
    assert warm.pids(LOST) == [None]
    assert waited(warm, clock) == 15
    assert warm.pids(LOST) == [40]
    assert warm.owners.refresh() == set()


def test_retry_delay_doubles_from_15_to_300_seconds(warm: Host, clock: Clock) -> None:
    waits = []
    for _ in range(8):
        assert warm.pids(LOST) == [None]
        waits.append(waited(warm, clock))
    assert waits == [15, 30, 60, 120, 240, 300, 300, 300]


def test_closed_sockets_do_not_double_the_delay(warm: Host, clock: Clock) -> None:
    """With a fast turnover of connections, some are always closed before the search."""
    waits = []
    for number in range(6):
        assert warm.pids(LOST + number) == [None]
        waits.append(waited(warm, clock))
        warm.live.remove(LOST + number)
    assert waits == [15] * 6


def test_other_resolved_sockets_do_not_reset_the_delay(warm: Host, tree: Tree, clock: Clock) -> None:
    """Without rights most sockets have no owner, and there are always some new ones of our own."""
    waits = []
    for number, inode in zip(range(5, 10), count(NEW), strict=False):
        tree.hold(20, number, inode)
        assert warm.pids(LOST, inode) == [None, 20]
        waits.append(waited(warm, clock))
    assert waits == [15, 30, 60, 120, 240]


def test_a_successful_retry_resets_the_delay(warm: Host, tree: Tree, clock: Clock) -> None:
    for _ in range(4):
        warm.pids(LOST, LOST + 1)
        waited(warm, clock)
    tree.process(40, LOST + 1)
    assert warm.pids(LOST, LOST + 1) == [None, 40]
    assert waited(warm, clock) == 15


def test_delay_is_reset_when_none_is_unresolved(warm: Host, clock: Clock) -> None:
    for _ in range(6):
        warm.pids(LOST)
        waited(warm, clock)
    warm.live.remove(LOST)
    assert warm.owners.refresh() == set()
    assert warm.pids(LOST + 1) == [None]
    assert waited(warm, clock) == 15


def test_later_unresolved_inode_shares_the_retry_time(warm: Host, clock: Clock, watch: Watch) -> None:
    warm.pids(LOST)
    clock.now += 10
    assert warm.pids(LOST + 1) == [None]
    watch.links()
    assert warm.pids(LOST, LOST + 1) == [None, None]
    assert watch.links() == IN_ROTATION
    assert waited(warm, clock) == 15 - 10


def test_inode_found_by_chance_is_assigned_in_the_next_collection(warm: Host, tree: Tree) -> None:
    assert warm.pids(LOST) == [None]
    tree.process(40, LOST, NEW)
    assert warm.pids(NEW) == [40]
    assert warm.owners.refresh() == set()
    assert {inode: owner.pid for inode, owner in warm.owners.transferred.items()} == {LOST: 40}
    assert warm.pids(LOST) == [40]
    warm.owners.refresh()
    assert warm.owners.transferred == {}


def test_inode_found_by_chance_is_searched_for_when_its_owner_exits(warm: Host, tree: Tree) -> None:
    """It must not wait for a retry as if it were still unresolved."""
    assert warm.pids(LOST) == [None]
    tree.process(40, LOST, NEW)
    tree.process(50, LOST)
    assert warm.pids(NEW) == [40]
    tree.kill(40)
    warm.live.remove(NEW)
    warm.owners.refresh()
    assert warm.pids(LOST) == [50]


def test_failure_of_proc_does_not_delay_the_search(host: Host, tree: Tree) -> None:
    """So each scrape fails while it does, not only the first."""
    elsewhere = tree.root.with_name("elsewhere")
    tree.root.rename(elsewhere)
    for _ in range(2):
        with pytest.raises(FileNotFoundError):
            host.resolve(101)
        owner: Owner = host.owners.owner_of(101)
        assert owner is Unowned.NOT_FOUND
    elsewhere.rename(tree.root)
    assert host.pids(101) == [10]
