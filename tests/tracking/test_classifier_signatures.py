"""Many sockets at a time are classified as each by itself, whatever stands for them."""

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
    TIME_WAIT,
    Listener,
    Socket,
    SocketTable,
)
from exporter.netlink.inet_diag import InetDiagTable
from exporter.portable.psutil_source import SocketList
from exporter.tracking.classifier import Classifier, ClassifierCache
from exporter.tracking.destinations import DestinationOwners
from exporter.tracking.listeners import LISTENER_RETENTION_SECONDS, ListenerTable

from ..netlink.messages import row
from .classifying import ON_THEIR_PORTS, WAS_INBOUND, WAS_OUTBOUND
from .sockets import (
    ADDRESSES,
    CLIENT,
    EPHEMERAL,
    HOLDERS,
    PORTS,
    SERVER,
    WORKER,
    ip,
    listener,
    listening,
    owner_of,
)

# Of few values, so that many are alike.
HERE = st.sampled_from([ip("10.0.0.1"), ip("10.0.0.2"), ip("::1")])
SOCKETS = st.builds(
    Socket,
    st.sampled_from([ESTABLISHED, FIN_WAIT2, TIME_WAIT, CLOSE_WAIT]),
    HERE,
    st.sampled_from([80, 40_000, 40_001]),
    HERE,
    st.sampled_from([443, 50_000]),
    st.sampled_from([NO_OWNER_KEY, 999, *HOLDERS]),
    st.integers(1, 9),
)
BOUND = st.builds(
    lambda address, port: Socket(CLOSE, address, port, bytes(len(address)), 0, 999, 1), ADDRESSES, PORTS
)
BEFORE = st.sampled_from([None, None, WAS_INBOUND, WAS_OUTBOUND])
TALKERS = st.lists(st.sampled_from([CLIENT, SERVER]), max_size=2)
MANY = st.lists(st.tuples(SOCKETS | BOUND, BEFORE), max_size=30)


def plain(sockets: Sequence[Socket]) -> SocketTable:
    return SocketList(sockets)


def from_the_kernel(sockets: Sequence[Socket]) -> SocketTable:
    """The same as messages, all of one size."""
    size = 140
    return InetDiagTable(b"".join(_message(one, size) for one in sockets), size, 16)


def _message(one: Socket, size: int) -> bytes:
    family = network.AF_INET if len(one.local_address) == 4 else network.AF_INET6
    remote = one.remote_address if len(one.remote_address) == len(one.local_address) else one.local_address
    return row(
        one.state,
        one.cookie,
        one.owner_key,
        size=size,
        family=family,
        local=(one.local_address, one.local_port),
        remote=(remote, one.remote_port),
    )


class Numbers(list[SocketGroup]):
    """Numbers groups."""

    def of(self, group: SocketGroup) -> int:
        if group not in self:
            self.append(group)
        return self.index(group)


@pytest.mark.parametrize("rows_of", [plain, from_the_kernel])
@given(st.lists(st.tuples(MANY, TALKERS), min_size=1, max_size=3), ON_THEIR_PORTS)
def test_group_ids_agree_with_classifying_each_socket(
    rows_of: Callable[[Sequence[Socket]], SocketTable],
    looks: list[tuple[list[tuple[Socket, SocketGroup | None]], list[ProcessId]]],
    listeners: list[tuple[Listener, Owner]],
) -> None:
    table, destinations = ListenerTable(), DestinationOwners()
    table.update(listeners, 0.0)
    many = Classifier(table, destinations, owner_of, EPHEMERAL)
    numbers = Numbers()
    for number, (piece, talking) in enumerate(looks):
        destinations.update([WAS_OUTBOUND._replace(owner=one) for one in talking], str, 1_000.0 * number)
        many.begin(owner_of)
        rows, previous = rows_of([one for one, _ in piece]), [group for _, group in piece]
        each = Classifier(table, destinations, owner_of, EPHEMERAL)
        found = many.group_ids(rows, previous if any(previous) else (), numbers.of)
        assert [numbers[number] for number in found] == [
            each(one, group) for one, group in zip(rows, previous, strict=True)
        ]


def test_clients_of_one_service_share_a_signature() -> None:
    """Or a busy server's connections would be looked at one by one."""
    recorded: list[Socket] = []

    class Counting(Classifier):
        def __call__(self, socket: Socket, previous: SocketGroup | None) -> SocketGroup:
            recorded.append(socket)
            return super().__call__(socket, previous)

    http = listening((("0.0.0.0", 80), SERVER))
    clients = [
        Socket(state, b"\x0a\0\0\1", 80, bytes((10, 0, 1, number)), 30_000 + number, owner_key, number)
        for state, owner_key in ((1, 999), (TIME_WAIT, NO_OWNER_KEY))
        for number in range(100)
    ]
    Counting(http, DestinationOwners(), owner_of, EPHEMERAL).group_ids(SocketList(clients), (), Numbers().of)
    assert len(recorded) == 2


class TestClassifierCache:
    """Which looks share what they know of likenesses."""

    def setup_method(self) -> None:
        self.table = listening((("0.0.0.0", 80), SERVER))
        self.cache = ClassifierCache(self.table, DestinationOwners())
        self.first = self.cache.get(owner_of, EPHEMERAL, 1)

    def test_classifier_is_reused_while_nothing_changed(self) -> None:
        self.table.update([(listener(("0.0.0.0", 80)), SERVER)], 1.0)
        assert self.cache.get(owner_of, EPHEMERAL, 1) is self.first

    @pytest.mark.parametrize(
        "change",
        [
            lambda table: table.update([(listener(("0.0.0.0", 81)), SERVER)], 1.0),
            lambda table: table.update([(listener(("0.0.0.0", 80)), WORKER)], 1.0),
            lambda table: table.update([], 2 * LISTENER_RETENTION_SECONDS),
            lambda table: table.invalidate([SERVER]),
        ],
        ids=["another port", "another owner", "gone", "owner dead"],
    )
    def test_classifier_is_replaced_when_listeners_change(
        self, change: Callable[[ListenerTable], None]
    ) -> None:
        change(self.table)
        assert self.cache.get(owner_of, EPHEMERAL, 1) is not self.first

    def test_classifier_is_replaced_when_range_or_ids_change(self) -> None:
        assert self.cache.get(owner_of, None, 1) is not self.first
        assert self.cache.get(owner_of, None, 2) is not self.cache.get(owner_of, None, 3)
