"""Sockets of Windows: batches, listeners, bound sockets and owner keys."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

import pytest

from exporter.model.sockets import (
    CLOSE,
    HIDDEN_OWNER_KEY,
    NO_OWNER_KEY,
    STALE_OWNER_KEY,
    STATE_NAMES,
    KeySpace,
    Listener,
)
from exporter.windows.iphlpapi_source import IphlpapiSource
from exporter.windows.process_table import ProcessEntry
from exporter.windows.tcp_rows import TCP4_LAYOUT, TCP6_LAYOUT, TcpRows
from exporter.windows.tcp_table import BoundPort

from ..netlink.messages import rows_of
from .rows import CLOSE_WAIT, ESTABLISHED, LISTEN, TIME_WAIT, Row, tcp4_table, tcp6_table

SECOND = 10_000_000
STARTED = 133_000_000_000_000_000
ANY = "0.0.0.0"
HERE, THERE = "10.0.0.1", "10.0.0.2"
PROCESSES = {7: ProcessEntry("spoolsv.exe", STARTED, 500)}


def source(
    tcp4: Iterable[Row] = (),
    tcp6: Iterable[Row] = (),
    bound: Iterable[BoundPort] = (),
    processes: Mapping[int, ProcessEntry] = PROCESSES,
    now: float = 0.0,
) -> IphlpapiSource:
    return IphlpapiSource(
        lambda: processes,
        [
            lambda: TcpRows(TCP4_LAYOUT, tcp4_table(*tcp4)),
            lambda: TcpRows(TCP6_LAYOUT, tcp6_table(*tcp6)),
        ],
        lambda: bound,
        clock=lambda: now,
    )


def owner_keys(*rows: Row) -> list[int]:
    batches = list(source(rows).full_sockets())
    return [sock.owner_key for sock in rows_of(batches)]


def test_every_row_is_counted_in_its_state() -> None:
    rows = [Row(number, HERE, 80, THERE, 5000 + number, 7) for number in range(1, 13)]
    tested = source(rows, [row._replace(local="::1", remote="::1") for row in rows])
    counts = Counter[str]()
    for batch in tested.full_sockets():
        counts[STATE_NAMES[batch.keyspace.state]] += len(batch.keys)
    assert len(tested.listeners()) == 2
    assert counts == Counter(
        {name: 2 for name in STATE_NAMES.values() if name not in {"listen", "close"}} | {"close": 4}
    )


def test_batches_separate_sockets_with_and_without_an_owner() -> None:
    rows = Row(ESTABLISHED, HERE, 5000, THERE, 80, 7), Row(TIME_WAIT, HERE, 5001, THERE, 80)
    batches = {batch.keyspace: batch for batch in source(rows).full_sockets()}
    assert batches.keys() == {KeySpace(1), KeySpace(6, owned=False)}
    assert memoryview(batches[KeySpace(1)].owner_key_column).cast("I").tolist() == [7]


def test_selection_of_a_batch_decodes_its_own_rows() -> None:
    rows = [Row(ESTABLISHED, HERE, 5000 + n, THERE, 80, 7) for n in range(3)]
    (batch,) = source([Row(TIME_WAIT, HERE, 4000, THERE, 80), *rows][1:]).full_sockets()
    assert [sock.local_port for sock in batch.select([2, 0])] == [5002, 5000]
    assert batch.local_endpoints(5001, 5002) == [(bytes((10, 0, 0, 1)), 5001), (bytes((10, 0, 0, 1)), 5002)]


def test_listeners_have_their_process() -> None:
    tested = source([Row(LISTEN, ANY, 631, pid=7), Row(LISTEN, ANY, 632)])
    assert list(tested.full_sockets()) == []
    assert tested.listeners() == [
        Listener(bytes(4), 631, 7, None, None),
        Listener(bytes(4), 632, HIDDEN_OWNER_KEY, None, None),
    ]


def test_time_wait_is_not_owned_by_the_idle_process() -> None:
    assert owner_keys(Row(TIME_WAIT, HERE, 5000, THERE, 80)) == [NO_OWNER_KEY]


def test_connection_without_pid_is_hidden_unless_its_listener_has_it() -> None:
    rows = Row(LISTEN, ANY, 631, pid=7), Row(ESTABLISHED, HERE, 631, THERE, 5000)
    assert owner_keys(*rows) == [NO_OWNER_KEY]
    assert owner_keys(rows[1]) == [HIDDEN_OWNER_KEY]


@pytest.mark.parametrize(
    ("created", "expected"),
    [
        (STARTED + SECOND, 7),
        (STARTED, 7),
        (STARTED - SECOND // 2, 7),
        (STARTED - 2 * SECOND, STALE_OWNER_KEY),
        (0, 7),
    ],
)
def test_process_that_is_younger_than_its_socket_is_not_the_owner(created: int, expected: int) -> None:
    assert owner_keys(Row(CLOSE_WAIT, HERE, 5000, THERE, 9100, 7, created)) == [expected]


def test_sockets_are_read_where_the_processes_are_not() -> None:
    def fail() -> Mapping[int, ProcessEntry]:
        raise OSError

    rows = TcpRows(TCP4_LAYOUT, tcp4_table(Row(CLOSE_WAIT, HERE, 5000, THERE, 9100, 7, STARTED)))
    tested = IphlpapiSource(fail, [lambda: rows], list)
    (batch,) = tested.full_sockets()
    assert len(batch.keys) == 1


def test_bound_sockets_are_those_without_connection_and_listener() -> None:
    local = bytes((10, 0, 0, 1))
    bound = [BoundPort(local, port, pid) for port, pid in ((5000, 7), (631, 7), (5000, 8), (6000, 7))]
    tested = source([Row(ESTABLISHED, HERE, 5000, THERE, 80, 7), Row(LISTEN, ANY, 631, pid=7)], bound=bound)
    batches = {batch.keyspace: batch for batch in tested.full_sockets()}
    sockets = rows_of([batches[KeySpace(CLOSE)]])
    assert {(sock.local_port, sock.owner_key) for sock in sockets} == {(5000, 8), (6000, 7)}
    assert {(sock.remote_address, sock.remote_port) for sock in sockets} == {(b"", 0)}


def test_close_wait_has_no_queue_lengths() -> None:
    tested = source([Row(CLOSE_WAIT, HERE, 5000, THERE, 9100, 7), Row(ESTABLISHED, HERE, 1, THERE, 2, 7)])
    list(tested.full_sockets())
    (sock,) = tested.close_wait_sockets()
    assert (sock.socket.remote_port, sock.receive_queue_bytes, sock.send_queue_bytes) == (9100, None, None)


@pytest.mark.parametrize(
    ("created", "seconds"),
    [(STARTED, 90.5), (STARTED + 60 * SECOND, 30.5), (STARTED + 91 * SECOND, None), (0, None)],
)
def test_close_wait_has_the_time_since_it_was_opened(created: int, seconds: float | None) -> None:
    now = (STARTED - 116_444_736_000_000_000) / SECOND + 90.5
    rows = Row(ESTABLISHED, HERE, 1, THERE, 2, 7, STARTED), Row(CLOSE_WAIT, HERE, 3, THERE, 4, 7, created)
    for tcp4, tcp6 in ((rows, ()), ((), [row._replace(local="::1", remote="::1") for row in rows])):
        tested = source(tcp4, tcp6, now=now)
        list(tested.full_sockets())
        (sock,) = tested.close_wait_sockets()
        assert sock.seconds_since_opened == (seconds and pytest.approx(seconds, abs=1e-3))


@pytest.mark.parametrize("listed", [False, True])
def test_bound_sockets_are_missing_where_windows_does_not_list_them(
    listed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("exporter.windows.iphlpapi_source.can_list_bound_ports", lambda: listed)
    assert source().has_bound_sockets is listed
