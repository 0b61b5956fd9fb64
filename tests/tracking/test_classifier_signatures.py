"""Classifying many sockets by their signatures gives the same groups as one at a time."""

from __future__ import annotations

import socket as network
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.model.groups import SocketGroup
from exporter.model.process import Owner, ProcessId
from exporter.model.sockets import (
    CLOSE,
    CLOSE_WAIT,
    ESTABLISHED,
    FIN_WAIT2,
    NO_OWNER_KEY,
    SYN_RECV,
    SYN_SENT,
    TIME_WAIT,
    Listener,
    Socket,
    SocketTable,
)
from exporter.netlink.inet_diag import InetDiagTable
from exporter.portable.socket_list import SocketList
from exporter.tracking.classifier import Classifier, ClassifierCache
from exporter.tracking.destinations import DestinationOwners
from exporter.tracking.listeners import ListenerTable

from ..netlink.messages import row
from .classifying import LISTENERS_ON_USED_PORTS, WAS_INBOUND, WAS_OUTBOUND
from .sockets import (
    ADDRESSES,
    CLIENT,
    EPHEMERAL,
    OWNERS_BY_KEY,
    PORTS,
    SERVER,
    WORKER,
    Endpoint,
    ip,
    listener,
    listening,
    owner_of,
)

# Few values, so that many sockets share a signature.
HERE = st.sampled_from([ip("10.0.0.1"), ip("10.0.0.2"), ip("::1")])
SOCKETS = st.builds(
    Socket,
    st.sampled_from([ESTABLISHED, SYN_SENT, SYN_RECV, FIN_WAIT2, TIME_WAIT, CLOSE_WAIT]),
    HERE,
    st.sampled_from([80, 40_000, 40_001]),
    HERE,
    st.sampled_from([443, 50_000, 41_000, 41_001, 41_002]),
    st.sampled_from([NO_OWNER_KEY, 999, *OWNERS_BY_KEY]),
    st.integers(1, 9),
)
BOUND = st.builds(
    lambda address, port: Socket(CLOSE, address, port, bytes(len(address)), 0, 999, 1), ADDRESSES, PORTS
)
PREVIOUS = st.sampled_from([None, None, WAS_INBOUND, WAS_OUTBOUND])
CONNECTED_OWNERS = st.lists(st.sampled_from([CLIENT, SERVER]), max_size=2)
SOCKETS_WITH_PREVIOUS = st.lists(st.tuples(SOCKETS | BOUND, PREVIOUS), max_size=30)


def socket_list(sockets: Sequence[Socket]) -> SocketTable:
    return SocketList(sockets)


def netlink_table(sockets: Sequence[Socket]) -> SocketTable:
    """Return the sockets as messages of one size."""
    size = 140
    return InetDiagTable(b"".join(_message(sock, size) for sock in sockets), size, 16)


def _message(sock: Socket, size: int) -> bytes:
    family = network.AF_INET if len(sock.local_address) == 4 else network.AF_INET6
    remote = (
        sock.remote_address if len(sock.remote_address) == len(sock.local_address) else sock.local_address
    )
    return row(
        sock.state,
        sock.cookie,
        sock.owner_key,
        size=size,
        family=family,
        local=(sock.local_address, sock.local_port),
        remote=(remote, sock.remote_port),
    )


class GroupNumbers(list[SocketGroup]):
    """Assigns numbers to groups."""

    def of(self, group: SocketGroup) -> int:
        if group not in self:
            self.append(group)
        return self.index(group)


@pytest.mark.parametrize("rows_of", [socket_list, netlink_table])
@given(
    st.lists(st.tuples(SOCKETS_WITH_PREVIOUS, CONNECTED_OWNERS), min_size=1, max_size=3),
    LISTENERS_ON_USED_PORTS,
)
def test_group_ids_agree_with_classifying_each_socket(
    rows_of: Callable[[Sequence[Socket]], SocketTable],
    collections: list[tuple[list[tuple[Socket, SocketGroup | None]], list[ProcessId]]],
    listeners: list[tuple[Listener, Owner]],
) -> None:
    table, destinations = ListenerTable(), DestinationOwners()
    table.update(listeners)
    classifier = Classifier(table, destinations, owner_of, EPHEMERAL)
    numbers = GroupNumbers()
    for number, (sockets, connected) in enumerate(collections):
        groups = [WAS_OUTBOUND._replace(owner=owner) for owner in connected]
        destinations.update(groups, groups, str, 200.0 * number)
        classifier.begin(owner_of)
        rows, previous = rows_of([sock for sock, _ in sockets]), [group for _, group in sockets]
        one_by_one = Classifier(table, destinations, owner_of, EPHEMERAL)
        for each in (classifier, one_by_one):
            each.learn_ports([rows])
        group_ids = classifier.group_ids(rows, previous if any(previous) else (), numbers.of)
        assert [numbers[number] for number in group_ids] == [
            one_by_one(sock, group) for sock, group in zip(rows, previous, strict=True)
        ]


@pytest.mark.parametrize("rows_of", [socket_list, netlink_table])
@given(
    st.lists(
        st.tuples(SOCKETS_WITH_PREVIOUS, st.lists(st.integers(0, 2), min_size=2, max_size=2)), max_size=4
    )
)
def test_group_ids_agree_while_accept_queues_change(
    rows_of: Callable[[Sequence[Socket]], SocketTable],
    collections: list[tuple[list[tuple[Socket, SocketGroup | None]], list[int]]],
) -> None:
    table = ListenerTable()
    shared = [(listener(("10.0.0.1", 80)), owner) for owner in (SERVER, WORKER)]
    table.update(shared)
    classifier, numbers = Classifier(table, DestinationOwners(), owner_of, EPHEMERAL), GroupNumbers()
    for sockets, lengths in collections:
        table.update(
            (row._replace(queue_length=length), owner)
            for (row, owner), length in zip(shared, lengths, strict=True)
        )
        classifier.begin(owner_of)
        rows, previous = rows_of([sock for sock, _ in sockets]), [group for _, group in sockets]
        one_by_one = Classifier(table, DestinationOwners(), owner_of, EPHEMERAL)
        group_ids = classifier.group_ids(rows, previous if any(previous) else (), numbers.of)
        assert [numbers[number] for number in group_ids] == [
            one_by_one(sock, group) for sock, group in zip(rows, previous, strict=True)
        ]


@pytest.mark.parametrize("listeners", [[(("0.0.0.0", 80), SERVER)], []], ids=["listening", "closed"])
def test_clients_of_one_service_share_a_signature(listeners: list[tuple[Endpoint, Owner]]) -> None:
    """Otherwise the connections of a busy server would be classified one by one."""
    classified: list[Socket] = []

    class Counting(Classifier):
        def __call__(self, socket: Socket, previous: SocketGroup | None) -> SocketGroup:
            classified.append(socket)
            return super().__call__(socket, previous)

    http = listening(*listeners)
    clients = [
        Socket(state, b"\x0a\0\0\1", 80, bytes((10, 0, 1, number)), 41_000 + number, owner_key, number)
        for state, owner_key in ((1, 999), (TIME_WAIT, NO_OWNER_KEY))
        for number in range(100)
    ]
    Counting(http, DestinationOwners(), owner_of, EPHEMERAL).group_ids(
        SocketList(clients), (), GroupNumbers().of
    )
    assert len(classified) == 2


class TestClassifierCache:
    """Collections share a classifier, with its known signatures, while its inputs are the same."""

    def setup_method(self) -> None:
        self.table = listening((("0.0.0.0", 80), SERVER))
        self.cache = ClassifierCache(self.table, DestinationOwners())
        self.first = self.cache.get(owner_of, EPHEMERAL, 1)

    def test_classifier_is_reused_while_nothing_changed(self) -> None:
        self.table.update([(listener(("0.0.0.0", 80)), SERVER)])
        assert self.cache.get(owner_of, EPHEMERAL, 1) is self.first

    @pytest.mark.parametrize(
        "change",
        [
            lambda table: table.update([(listener(("0.0.0.0", 81)), SERVER)]),
            lambda table: table.update([(listener(("0.0.0.0", 80)), WORKER)]),
            lambda table: table.update([]),
            lambda table: table.invalidate([SERVER]),
        ],
        ids=["another port", "another owner", "listener closed", "owner invalidated"],
    )
    def test_classifier_is_replaced_when_listeners_change(
        self, change: Callable[[ListenerTable], None]
    ) -> None:
        change(self.table)
        assert self.cache.get(owner_of, EPHEMERAL, 1) is not self.first

    def test_classifier_is_replaced_when_range_or_ids_change(self) -> None:
        assert self.cache.get(owner_of, None, 1) is not self.first
        assert self.cache.get(owner_of, None, 2) is not self.cache.get(owner_of, None, 3)
