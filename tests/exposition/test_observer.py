"""One look at the host, when all goes well and when a part fails."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Collection, Container, Iterator

import pytest

from exporter.analysis.naming import Namer
from exporter.exposition.observer import LISTENERS, OWNERS, STATES, Observation, Observer
from exporter.model import (
    CLOSE_WAIT,
    ESTABLISHED,
    LISTEN,
    Batch,
    Direction,
    Group,
    Listener,
    Owner,
    Process,
    ProcessId,
    Socket,
    Unowned,
)
from exporter.sources.owners import LiveHolders
from exporter.sources.portable import batch

HERE = bytes((127, 0, 0, 1))
PRINTD = ProcessId(10, 1.0)
LISTENER = Listener(HERE, 631, 5, 0, 128)
ACCEPTED = Socket(CLOSE_WAIT, HERE, 631, HERE, 50_000, 6, 0)
WAITING = Socket(ESTABLISHED, HERE, 631, HERE, 50_001, 0, 0)


class Host:
    """A source and the owners of its sockets, of which each part can be broken."""

    name = "host"
    not_found_because = "not_found"

    def __init__(self) -> None:
        self.broken: set[str] = set()
        self.unreadable: Counter[str] = Counter()
        self.holders = {5: PRINTD, 6: PRINTD}
        self.asked_for: list[set[int]] = []
        self.stale: set[Owner] = set()

    def sockets(self) -> Iterator[Batch]:
        yield batch([ACCEPTED])
        self._break(STATES)
        yield batch([WAITING])

    def listeners(self) -> list[Listener]:
        self._break(LISTENERS)
        return [LISTENER]

    def refresh(self) -> set[Owner]:
        stale, self.stale = self.stale, set()
        return stale

    def resolve(self, holders: Collection[int], live: LiveHolders) -> None:
        self._break(OWNERS)
        self.asked_for.append(set(holders))
        assert set(holders) <= set(live()) | {0}

    def owner_of(self, holder: int) -> Owner:
        return self.holders.get(holder, Unowned.NOT_FOUND) if self.asked_for else Unowned.NOT_FOUND

    def process(self, owner: ProcessId) -> Process:
        return Process(owner.pid, owner.start_time, "printd")

    def keep(self, used: Container[object]) -> None:
        assert None not in used

    def _break(self, part: str) -> None:
        if part in self.broken:
            raise OSError(f"{part} broke")


@pytest.fixture
def host() -> Host:
    return Host()


@pytest.fixture
def observer(host: Host) -> Observer:
    return Observer(host, host, Namer())


def groups(seen: Observation) -> dict[Group, int]:
    assert seen.groups is not None
    return dict(seen.groups)


def test_all_sockets_are_counted_with_their_owners(observer: Observer) -> None:
    seen = observer.observe()
    assert groups(seen) == {
        Group(CLOSE_WAIT, PRINTD, Direction.INBOUND, 631): 1,
        Group(ESTABLISHED, PRINTD, Direction.INBOUND, 631): 1,
        Group(LISTEN, PRINTD, Direction.NONE, 631): 1,
    }
    assert seen.names == {PRINTD: "printd"}
    assert seen.failed == frozenset()
    assert {STATES, LISTENERS, OWNERS} == set(seen.seconds)


def test_a_second_look_asks_only_for_listeners(observer: Observer, host: Host) -> None:
    observer.observe()
    observer.observe()
    assert [{0, 5, 6}, {5}] == host.asked_for


def test_stale_owners_are_asked_for_again(observer: Observer, host: Host) -> None:
    observer.observe()
    host.stale = {PRINTD}
    host.holders[6] = other = ProcessId(11, 2.0)
    assert Group(CLOSE_WAIT, other, Direction.INBOUND, 631) in groups(observer.observe())


def test_without_sockets_there_are_no_counts(observer: Observer, host: Host) -> None:
    host.broken = {STATES}
    seen = observer.observe()
    assert (seen.groups, seen.failed) == (None, {STATES})
    assert seen.listeners == [(LISTENER, PRINTD)]


def test_without_listeners_the_sockets_stand(observer: Observer, host: Host) -> None:
    host.broken = {LISTENERS}
    seen = observer.observe()
    assert (seen.listeners, seen.failed) == (None, {LISTENERS})
    assert sum(groups(seen).values()) == 2


def test_without_owners_everything_is_counted(observer: Observer, host: Host) -> None:
    host.broken = {OWNERS}
    seen = observer.observe()
    assert seen.failed == {OWNERS}
    assert (sum(groups(seen).values()), seen.not_found_because) == (3, "unreadable")


@pytest.mark.parametrize("part", [STATES, LISTENERS, OWNERS])
def test_a_failure_is_logged_once_and_so_is_its_end(
    part: str, observer: Observer, host: Host, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    host.broken = {part}
    observer.observe()
    observer.observe()
    host.broken = set()
    observer.observe()
    observer.observe()
    assert ["Collector failed", "Collector works again"] == [record.message for record in caplog.records]


@pytest.mark.parametrize("part", [STATES, LISTENERS, OWNERS])
def test_after_a_failure_everything_is_as_before(part: str, observer: Observer, host: Host) -> None:
    host.broken = {part}
    observer.observe()
    host.broken = set()
    host.stale = {Unowned.NOT_FOUND}
    seen = observer.observe()
    assert sum(groups(seen).values()) == 3
    assert {owner for _, owner, _, _ in groups(seen)} == {PRINTD}
    assert {direction for _, _, direction, _ in groups(seen)} == {Direction.INBOUND, Direction.NONE}
