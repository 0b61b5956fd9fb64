"""Dead file descriptors as a part of a collection: what they need, and failures."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pytest

from exporter.model.collectors import CollectorName
from exporter.model.dead_fds import DeadFd
from exporter.model.host import FdUsage
from exporter.model.process import Owner
from exporter.owners.dead_fd_finder import DeadFdFinder

from .host import OTHER_CLIENT, Host

DEAD = DeadFd(OTHER_CLIENT, was_connected=True, age_seconds=5.0)


class Finder(DeadFdFinder):
    """Finds DEAD, and records the order of calls."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self.calls: list[str] = []
        self.live: set[int] = set()
        self.listening: list[int] = []
        self.failing = ""

    def observe(self, live: set[int], listening: Iterable[int], owner_of: Callable[[int], Owner]) -> None:  # noqa: ARG002  # part of the interface
        self._call("observe")
        self.live, self.listening = set(live), list(listening)

    def find(self, live: set[int], owner_of: Callable[[int], Owner]) -> list[DeadFd]:  # noqa: ARG002  # part of the interface
        self._call("find")
        return [DEAD]

    def _call(self, name: str) -> None:
        self.calls.append(f"{name} after {len(self._host.resolved)} searches")
        if self.failing == name:
            raise RuntimeError(f"{name} failed")


@pytest.fixture
def host() -> Host:
    """A host one of whose processes has no socket but a dead one."""
    host = Host()
    host.descriptors[OTHER_CLIENT.pid] = FdUsage(36, 40)
    return host


@pytest.fixture
def finder(host: Host) -> Finder:
    return Finder(host)


def test_dead_fds_of_a_process_without_other_sockets(host: Host, finder: Finder) -> None:
    snapshot = host.tracker(dead_fds=finder).snapshot()
    assert snapshot.dead_fds == [DEAD]
    assert snapshot.names[OTHER_CLIENT] == "other"
    assert snapshot.fd_usage[OTHER_CLIENT] == FdUsage(36, 40)


def test_all_owner_keys_are_observed_before_owners_are_resolved(host: Host, finder: Finder) -> None:
    host.tracker(dead_fds=finder).snapshot()
    assert finder.calls == ["observe after 0 searches", "find after 1 searches"]
    assert finder.live >= {5, 6}
    assert finder.listening == [5]


@pytest.mark.parametrize("failing", ["observe", "find"])
def test_failure_is_that_of_the_collector_descriptors(host: Host, finder: Finder, failing: str) -> None:
    finder.failing = failing
    snapshot = host.tracker(dead_fds=finder).snapshot()
    assert (snapshot.dead_fds, snapshot.failed) == (None, {CollectorName.DESCRIPTORS})
    assert snapshot.groups
    assert snapshot.fd_usage


@pytest.mark.parametrize(
    "failing", [CollectorName.STATES, CollectorName.LISTENERS, CollectorName.OWNERS], ids=str
)
def test_not_read_if_sockets_or_owners_are_missing(
    host: Host, finder: Finder, failing: CollectorName
) -> None:
    host.failing = {failing}
    snapshot = host.tracker(dead_fds=finder).snapshot()
    assert (snapshot.dead_fds, snapshot.failed) == (None, {failing})


def test_not_read_if_disabled(host: Host, finder: Finder) -> None:
    enabled = frozenset(CollectorName) - {CollectorName.DESCRIPTORS}
    snapshot = host.tracker(enabled, finder).snapshot()
    assert (snapshot.dead_fds, finder.calls) == (None, [])


def test_not_read_without_a_finder(host: Host) -> None:
    assert host.tracker().snapshot().dead_fds is None
