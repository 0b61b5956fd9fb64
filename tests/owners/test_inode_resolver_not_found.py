"""Holders without a process are left alone for a while, longer each time, and never for good."""

from __future__ import annotations

import sys
from itertools import count

import pytest

from exporter.model.process import Owner, Unowned
from exporter.owners.inode_resolver import RETRY_MAX_SECONDS, RETRY_MIN_SECONDS

from ..procfs.trees import Clock, Tree, Watch
from .hosts import Host

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")

LOST, NEW = 999, 777


def waited(host: Host, clock: Clock) -> float:
    """The seconds until a refresh says that those not found are to be looked for again."""
    started = clock.now
    while Unowned.NOT_FOUND not in host.owners.refresh():
        clock.now += 5
        assert clock.now - started <= 10 * RETRY_MAX_SECONDS
    return clock.now - started


def test_it_is_not_looked_for_again_at_once(warm: Host, watch: Watch) -> None:
    warm.resolve(LOST)
    watch.links()
    asked = warm.asked_for_live
    for _ in range(3):
        assert warm.owners.refresh() == set()
        watch.links()
        assert warm.resolve(LOST) == [Unowned.NOT_FOUND]
        assert watch.links() == []
    assert warm.asked_for_live == asked


def test_it_is_looked_for_again_after_a_while_and_found_when_it_turned_up(
    warm: Host, tree: Tree, clock: Clock
) -> None:
    assert warm.pids(LOST) == [None]
    tree.process(40, LOST)
    assert warm.pids(LOST) == [None]
    assert waited(warm, clock) == RETRY_MIN_SECONDS
    assert warm.pids(LOST) == [40]
    assert warm.owners.refresh() == set()


def test_each_time_in_vain_it_is_left_alone_for_twice_as_long(warm: Host, clock: Clock) -> None:
    waits = []
    for _ in range(8):
        assert warm.pids(LOST) == [None]
        waits.append(waited(warm, clock))
    assert waits == [15, 30, 60, 120, 240, 300, 300, 300]
    assert (waits[0], waits[-1]) == (RETRY_MIN_SECONDS, RETRY_MAX_SECONDS)


def test_those_that_were_closed_meanwhile_do_not_lengthen_the_wait_of_others(
    warm: Host, clock: Clock
) -> None:
    """Where connections come and go fast, some were always closed before anybody looked."""
    waits = []
    for number in range(6):
        assert warm.pids(LOST + number) == [None]
        waits.append(waited(warm, clock))
        warm.live.remove(LOST + number)
    assert waits == [RETRY_MIN_SECONDS] * 6


def test_others_that_are_found_do_not_shorten_the_wait(warm: Host, tree: Tree, clock: Clock) -> None:
    """Without rights most sockets have no owner, and there are always some new ones of our own."""
    waits = []
    for number, inode in zip(range(5, 10), count(NEW), strict=False):
        tree.hold(20, number, inode)
        assert warm.pids(LOST, inode) == [None, 20]
        waits.append(waited(warm, clock))
    assert waits == [15, 30, 60, 120, 240]


def test_when_one_of_them_turned_up_the_others_are_looked_for_soon(
    warm: Host, tree: Tree, clock: Clock
) -> None:
    for _ in range(4):
        warm.pids(LOST, LOST + 1)
        waited(warm, clock)
    tree.process(40, LOST + 1)
    assert warm.pids(LOST, LOST + 1) == [None, 40]
    assert waited(warm, clock) == RETRY_MIN_SECONDS


def test_when_none_is_left_the_next_one_is_looked_for_soon(warm: Host, clock: Clock) -> None:
    for _ in range(6):
        warm.pids(LOST)
        waited(warm, clock)
    warm.live.remove(LOST)
    assert warm.owners.refresh() == set()
    assert warm.pids(LOST + 1) == [None]
    assert waited(warm, clock) == RETRY_MIN_SECONDS


def test_one_that_joins_them_is_left_alone_with_them(warm: Host, clock: Clock, watch: Watch) -> None:
    warm.pids(LOST)
    clock.now += 10
    assert warm.pids(LOST + 1) == [None]
    watch.links()
    assert warm.pids(LOST, LOST + 1) == [None, None]
    assert watch.links() == []
    assert waited(warm, clock) == RETRY_MIN_SECONDS - 10


def test_one_met_by_chance_is_told_with_the_next_retry(warm: Host, tree: Tree, clock: Clock) -> None:
    assert warm.pids(LOST) == [None]
    tree.process(40, LOST, NEW)
    assert warm.pids(NEW) == [40]
    assert waited(warm, clock) == RETRY_MIN_SECONDS
    assert warm.pids(LOST) == [40]


def test_what_was_not_found_because_proc_failed_is_looked_for_at_once(host: Host, tree: Tree) -> None:
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
