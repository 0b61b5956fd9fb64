"""Rows of Windows' TCP tables."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from exporter.model.sockets import CLOSE, STATE_NAMES, Socket
from exporter.windows.tcp_rows import MIB_STATES, TCP4_LAYOUT, TCP6_LAYOUT, TcpRows

from .rows import CLOSE_WAIT, ESTABLISHED, TIME_WAIT, Row, tcp4_table, tcp6_table

CREATED = 133_000_000_000_000_000


def sockets(rows: TcpRows) -> list[Socket]:
    return rows.sockets(range(len(rows)), rows.pids)


def test_every_field_of_an_ipv4_row_is_read() -> None:
    rows = TcpRows(
        TCP4_LAYOUT, tcp4_table(Row(CLOSE_WAIT, "10.0.0.1", 9100, "10.1.2.3", 50_123, 1234, CREATED))
    )
    (sock,) = sockets(rows)
    assert sock._replace(cookie=0) == Socket(
        8, bytes((10, 0, 0, 1)), 9100, bytes((10, 1, 2, 3)), 50_123, 1234, 0
    )
    assert list(rows.created) == [CREATED]
    assert list(rows.local_ports) == [9100]


def test_every_field_of_an_ipv6_row_is_read() -> None:
    rows = TcpRows(
        TCP6_LAYOUT, tcp6_table(Row(ESTABLISHED, "2001:db8::1", 631, "fe80::2", 49_152, 8, CREATED))
    )
    (sock,) = sockets(rows)
    local, remote = ip_address("2001:db8::1").packed, ip_address("fe80::2").packed
    assert sock._replace(cookie=0) == Socket(1, local, 631, remote, 49_152, 8, 0)
    assert list(rows.created) == [CREATED]
    assert list(rows.local_ports) == [631]


def test_ipv4_mapped_addresses_become_ipv4() -> None:
    rows = TcpRows(TCP6_LAYOUT, tcp6_table(Row(ESTABLISHED, "::ffff:10.0.0.1", 80, "::ffff:10.0.0.2", 5000)))
    (sock,) = sockets(rows)
    assert (sock.local_address, sock.remote_address) == (bytes((10, 0, 0, 1)), bytes((10, 0, 0, 2)))


@pytest.mark.parametrize("number", range(1, 13))
def test_every_state_of_windows_has_a_name(number: int) -> None:
    rows = TcpRows(TCP4_LAYOUT, tcp4_table(Row(number, "10.0.0.1", 80)))
    assert STATE_NAMES[rows.states[0]] == STATE_NAMES[MIB_STATES[number]]


@pytest.mark.parametrize("number", [0, 13, 100])
def test_unknown_state_counts_as_close(number: int) -> None:
    rows = TcpRows(TCP4_LAYOUT, tcp4_table(Row(number, "10.0.0.1", 80)))
    assert list(rows.states) == [CLOSE]


def test_key_survives_state_and_owner_but_not_another_creation_time() -> None:
    open_row = Row(ESTABLISHED, "10.0.0.1", 80, "10.0.0.2", 5000, 7, CREATED)
    later = open_row._replace(created=CREATED + 1)
    closed = open_row._replace(state=TIME_WAIT, pid=0, garbage=0xBEEF)
    for layout, table in ((TCP4_LAYOUT, tcp4_table), (TCP6_LAYOUT, tcp6_table)):
        mapped = [
            row if layout is TCP4_LAYOUT else row._replace(local="::1", remote="::2")
            for row in (open_row, closed, later)
        ]
        first, second, third = TcpRows(layout, table(*mapped)).keys
        assert first == second != third


def test_unused_bytes_after_the_rows_are_ignored() -> None:
    rows = TcpRows(TCP4_LAYOUT, tcp4_table(Row(ESTABLISHED, "10.0.0.1", 80), unused=b"\xff" * 333))
    assert len(rows) == 1


def test_table_that_is_too_short_for_its_rows_is_an_error() -> None:
    with pytest.raises(ValueError, match="cannot have 2 rows"):
        TcpRows(TCP4_LAYOUT, tcp4_table(*[Row(ESTABLISHED, "10.0.0.1", 80)] * 2)[:-1])


def test_empty_table_has_no_rows() -> None:
    rows = TcpRows(TCP6_LAYOUT, tcp6_table())
    assert (len(rows), rows.keys, sockets(rows)) == (0, [], [])
