"""Owner resolution by pid, and without any."""

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


class UnusedLiveSockets:
    """Live sockets that are never requested: pids are known already."""

    def all(self) -> set[int]:
        raise AssertionError

    def gone(self, known: Iterable[int]) -> set[int]:
        raise AssertionError(known)


unused = UnusedLiveSockets()


@pytest.fixture
def owners(tree: Tree) -> PidOwnerResolver:
    for pid in (10, 20):
        tree.process(pid, comm=f"worker{pid}")
    return PidOwnerResolver(ProcessCache(ProcfsProcessReader(tree.root)))


@linux
class TestPidOwnerResolver:
    def test_pids_are_resolved_to_processes(self, owners: PidOwnerResolver) -> None:
        owners.resolve({10, 20}, unused)
        assert [owners.owner_of(pid) for pid in (10, 20)] == [
            ProcessId(10, 100 / TICKS),
            ProcessId(20, 100 / TICKS),
        ]
        assert owners.process(ProcessId(20, 100 / TICKS)).comm == "worker20"
        assert not owners.unreadable_processes

    def test_no_process_is_read_for_a_socket_without_owner(self, owners: PidOwnerResolver) -> None:
        owners.resolve({NO_OWNER_KEY}, unused)
        assert owners.owner_of(NO_OWNER_KEY) is Unowned.RELEASED
        assert not owners.unreadable_processes

    def test_hidden_owner_is_unreadable(self, owners: PidOwnerResolver) -> None:
        owners.resolve({10, HIDDEN_OWNER_KEY}, unused)
        assert owners.owner_of(HIDDEN_OWNER_KEY) is Unowned.NOT_FOUND
        assert owners.unresolved_reason == "unreadable"
        owners.resolve({10}, unused)
        assert owners.unresolved_reason == "unreadable"

    def test_vanished_process_is_counted_once(self, owners: PidOwnerResolver) -> None:
        owners.resolve({10, 99}, unused)
        assert owners.owner_of(99) is Unowned.NOT_FOUND
        assert owners.unreadable_processes == {"vanished": 1}
        assert owners.unresolved_reason == "not_found"
        owners.resolve({20}, unused)
        assert not owners.unreadable_processes

    def test_vanished_process_is_stale_and_reused_pid_another(
        self, owners: PidOwnerResolver, tree: Tree
    ) -> None:
        owners.resolve({10, 20}, unused)
        assert owners.refresh() == set()
        dead = ProcessId(10, 100 / TICKS)
        tree.kill(10)
        assert owners.refresh() == {dead}
        assert owners.owner_of(10) is Unowned.NOT_FOUND
        tree.process(10, comm="successor", started=200)
        owners.resolve({10}, unused)
        assert owners.owner_of(10) == ProcessId(10, 200 / TICKS)
        assert owners.process(dead).comm == "worker10"
        owners.retain(set())
        with pytest.raises(KeyError):
            owners.process(dead)
        assert owners.process(ProcessId(10, 200 / TICKS)).comm == "successor"

    def test_reason_of_an_unreadable_process(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(psutil, "Process", StandIn(1, psutil.AccessDenied(PID)))
        refused = PidOwnerResolver(ProcessCache(PsutilProcessReader()))
        refused.resolve({PID}, unused)
        assert refused.unreadable_processes == {"permission": 1}
        assert refused.unresolved_reason == "unreadable"


@pytest.mark.parametrize("at", range(1, 12))
def test_vanishing_process_never_raises(monkeypatch: pytest.MonkeyPatch, at: int) -> None:
    monkeypatch.setattr(psutil, "Process", StandIn(at))
    owners = PidOwnerResolver(ProcessCache(PsutilProcessReader(), details=True))
    owners.resolve({PID}, unused)
    assert owners.owner_of(PID) in (ProcessId(PID, STARTED), Unowned.NOT_FOUND)


def test_null_resolver_finds_no_process() -> None:
    owners: OwnerResolver = NullOwnerResolver()
    owners.resolve({1, 2}, unused)
    assert owners.refresh() == set()
    assert owners.owner_of(1) is Unowned.NOT_FOUND
    assert owners.unresolved_reason == "disabled"
    assert not owners.unreadable_processes
    owners.retain(set())
    with pytest.raises(KeyError):
        owners.process(ProcessId(1, 1.0))
