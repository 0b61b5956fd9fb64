"""The owners for a source that knows pids, and those of nobody."""

from __future__ import annotations

import sys
from collections.abc import Iterable

import psutil
import pytest

from exporter.model.process import ProcessId, Unowned
from exporter.model.sockets import HIDDEN_OWNER_KEY, NO_OWNER_KEY
from exporter.owners.pid_resolver import PidOwnerResolver
from exporter.owners.process_cache import ProcessCache
from exporter.owners.resolver import NullOwnerResolver, OwnerResolver
from exporter.portable.psutil_process import PsutilProcessReader
from exporter.procfs.process_reader import ProcfsProcessReader

from ..portable.test_psutil_process import PID, STARTED, StandIn
from ..procfs.trees import TICKS, Tree

linux = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")


class Nobody:
    """Whom nothing is asked of: pids are known already."""

    def all(self) -> set[int]:
        raise AssertionError

    def gone(self, known: Iterable[int]) -> set[int]:
        raise AssertionError(known)


nobody_asks = Nobody()


@pytest.fixture
def owners(tree: Tree) -> PidOwnerResolver:
    for pid in (10, 20):
        tree.process(pid, comm=f"worker{pid}")
    return PidOwnerResolver(ProcessCache(ProcfsProcessReader(tree.root)))


@linux
class TestPidOwners:
    def test_are_the_processes_of_these_pids(self, owners: PidOwnerResolver) -> None:
        owners.resolve({10, 20}, nobody_asks)
        assert [owners.owner_of(pid) for pid in (10, 20)] == [
            ProcessId(10, 100 / TICKS),
            ProcessId(20, 100 / TICKS),
        ]
        assert owners.process(ProcessId(20, 100 / TICKS)).comm == "worker20"
        assert not owners.unreadable

    def test_nobody_is_looked_for_behind_a_socket_without_one(self, owners: PidOwnerResolver) -> None:
        owners.resolve({NO_OWNER_KEY}, nobody_asks)
        assert owners.owner_of(NO_OWNER_KEY) is Unowned.RELEASED
        assert not owners.unreadable

    def test_who_holds_what_may_not_be_seen_is_not_found_as_it_cannot_be_read(
        self, owners: PidOwnerResolver
    ) -> None:
        owners.resolve({10, HIDDEN_OWNER_KEY}, nobody_asks)
        assert owners.owner_of(HIDDEN_OWNER_KEY) is Unowned.NOT_FOUND
        assert owners.unresolved_reason == "unreadable"
        owners.resolve({10}, nobody_asks)
        assert owners.unresolved_reason == "unreadable"

    def test_a_process_that_vanished_is_counted_once_and_not_found(self, owners: PidOwnerResolver) -> None:
        owners.resolve({10, 99}, nobody_asks)
        assert owners.owner_of(99) is Unowned.NOT_FOUND
        assert owners.unreadable == {"vanished": 1}
        assert owners.unresolved_reason == "not_found"
        owners.resolve({20}, nobody_asks)
        assert not owners.unreadable

    def test_the_dead_are_stale_and_a_pid_used_again_is_another(
        self, owners: PidOwnerResolver, tree: Tree
    ) -> None:
        owners.resolve({10, 20}, nobody_asks)
        assert owners.refresh() == set()
        dead = ProcessId(10, 100 / TICKS)
        tree.kill(10)
        assert owners.refresh() == {dead}
        assert owners.owner_of(10) is Unowned.NOT_FOUND
        tree.process(10, comm="successor", started=200)
        owners.resolve({10}, nobody_asks)
        assert owners.owner_of(10) == ProcessId(10, 200 / TICKS)
        assert owners.process(dead).comm == "worker10"
        owners.retain(set())
        with pytest.raises(KeyError):
            owners.process(dead)
        assert owners.process(ProcessId(10, 200 / TICKS)).comm == "successor"

    def test_a_process_that_may_not_be_read_is_the_reason(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(psutil, "Process", StandIn(1, psutil.AccessDenied(PID)))
        refused = PidOwnerResolver(ProcessCache(PsutilProcessReader()))
        refused.resolve({PID}, nobody_asks)
        assert refused.unreadable == {"permission": 1}
        assert refused.unresolved_reason == "unreadable"


@pytest.mark.parametrize("at", range(1, 12))
def test_a_process_that_goes_at_any_moment_never_fails_the_look(
    monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    monkeypatch.setattr(psutil, "Process", StandIn(at))
    owners = PidOwnerResolver(ProcessCache(PsutilProcessReader(), details=True))
    owners.resolve({PID}, nobody_asks)
    assert owners.owner_of(PID) in (ProcessId(PID, STARTED), Unowned.NOT_FOUND)


def test_no_owners_know_nobody() -> None:
    owners: OwnerResolver = NullOwnerResolver()
    owners.resolve({1, 2}, nobody_asks)
    assert owners.refresh() == set()
    assert owners.owner_of(1) is Unowned.NOT_FOUND
    assert owners.unresolved_reason == "disabled"
    assert not owners.unreadable
    owners.retain(set())
    with pytest.raises(KeyError):
        owners.process(ProcessId(1, 1.0))
