"""Absent sockets: which of them are candidates, since when, and which are dead."""

from __future__ import annotations

from collections.abc import Callable, Collection

import pytest

from exporter.model.process import Owner, ProcessId, Unowned
from exporter.owners.absent_sockets import AbsentSockets

OWNER = ProcessId(10, 1.0)


def owner_of(*owned: int) -> Callable[[int], Owner]:
    return lambda inode: OWNER if inode in owned else Unowned.NOT_FOUND


class Dumps:
    """Successive dumps, one each second."""

    def __init__(self) -> None:
        self.absent = AbsentSockets()
        self.now = 0.0

    def lack(self, *inodes: int, owned: Collection[int] = (), unconnected: Collection[int] = ()) -> set[int]:
        """Add a dump that lacks these sockets. Return the candidates."""
        self.now += 1.0
        self.absent.update(set(inodes), self.now, owner_of(*owned), unconnected)
        return self.absent.candidates(has_current_bound_only=True)


@pytest.fixture
def dumps() -> Dumps:
    return Dumps()


def test_candidates_are_absent_from_two_dumps(dumps: Dumps) -> None:
    assert dumps.lack(1, 2) == set()
    assert dumps.lack(1, 3) == {1}
    assert dumps.lack(1, 3) == {1, 3}
    assert dumps.absent.since([1, 3]) == [1.0, 2.0]


def test_socket_that_returns_begins_again(dumps: Dumps) -> None:
    dumps.lack(1, owned={1})
    assert dumps.lack() == set()
    assert dumps.lack(1) == set()
    assert dumps.lack(1) == {1}
    assert (dumps.absent.since([1]), dumps.absent.was_connected([1])) == ([3.0], [False])


def test_socket_with_an_owner_was_connected(dumps: Dumps) -> None:
    dumps.lack(1, 2, owned={1})
    dumps.lack(1, 2)
    assert dumps.absent.was_connected([1, 2]) == [True, False]


def test_listeners_and_bound_only_sockets_were_not_connected(dumps: Dumps) -> None:
    dumps.lack(unconnected={1})
    dumps.lack(1, 2, owned={1, 2})
    assert dumps.absent.was_connected([1, 2]) == [False, True]


def test_socket_that_connects_after_it_was_bound_was_connected(dumps: Dumps) -> None:
    dumps.lack(unconnected={1})
    dumps.lack()
    dumps.lack(1, owned={1})
    assert dumps.absent.was_connected([1]) == [True]


def test_without_bound_only_sockets_only_former_connections_are_candidates(dumps: Dumps) -> None:
    dumps.lack(1, 2, owned={1})
    dumps.lack(1, 2)
    assert dumps.absent.candidates(has_current_bound_only=False) == {1}
    dumps.absent.set_protocol(2, "TCP")
    dumps.absent.confirm({2}, list)
    dumps.lack(1, 2)
    assert dumps.absent.candidates(has_current_bound_only=False) == {1, 2}


@pytest.mark.parametrize("protocol", ["UDP", "UNIX-STREAM", "NETLINK", "SMC", "SCTP", ""])
def test_other_protocols_are_no_candidates(dumps: Dumps, protocol: str) -> None:
    dumps.lack(1, 2)
    dumps.lack(1, 2)
    dumps.absent.set_protocol(1, protocol)
    for _ in range(3):
        assert dumps.lack(1, 2) == {2}


def test_protocol_of_a_closed_socket_is_forgotten(dumps: Dumps) -> None:
    """Another socket may get its inode."""
    dumps.lack(1, 2)
    dumps.absent.set_protocol(1, "UDP")
    dumps.absent.set_protocol(2, "TCP")
    dumps.lack()
    dumps.lack(1, 2)
    assert dumps.lack(1, 2) == {1, 2}
    assert not dumps.absent.has_protocol(2)


@pytest.mark.parametrize("protocol", ["TCP", "TCPv6"])
def test_tcp_is_dead_without_an_mptcp_dump(dumps: Dumps, protocol: str) -> None:
    def dump() -> set[int]:
        raise AssertionError("no MPTCP socket is absent")

    dumps.lack(1, 2)
    dumps.lack(1, 2)
    dumps.absent.set_protocol(1, protocol)
    assert dumps.absent.confirm({1, 2}, dump) == {1}


def test_mptcp_is_dead_if_its_table_lacks_it(dumps: Dumps) -> None:
    dumps.lack(1, 2, 3)
    dumps.lack(1, 2, 3)
    for inode in (1, 2, 3):
        dumps.absent.set_protocol(inode, "MPTCP")
    assert dumps.absent.confirm({1, 2}, lambda: {2, 9}) == {1}
    assert dumps.absent.confirm({3}, lambda: None) == set()
    # Confirmed once, it needs no further dump of the MPTCP table.
    assert dumps.absent.confirm({1}, lambda: None) == {1}
