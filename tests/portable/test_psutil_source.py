"""Sockets through psutil: this process's own, and such as Windows and macOS have."""

from __future__ import annotations

import re
import socket
import sys
from operator import attrgetter
from pathlib import Path
from typing import NamedTuple

import psutil
import pytest

from exporter.model.sockets import (
    CLOSE,
    CLOSE_WAIT,
    ESTABLISHED,
    HIDDEN_OWNER_KEY,
    NO_OWNER_KEY,
    STATE_NAMES,
    TIME_WAIT,
    CloseWaitSocket,
    KeySpace,
    Listener,
    Socket,
)
from exporter.portable.psutil_source import PSUTIL_STATES, PsutilSource
from exporter.portable.socket_list import to_batches

from ..netlink.messages import rows_of

LOOPBACK = bytes((127, 0, 0, 1))


class Addr(NamedTuple):
    """psutil's addr."""

    ip: str
    port: int


class Row(NamedTuple):
    """psutil's sconn."""

    fd: int
    family: int
    type: int
    laddr: Addr | tuple[()]
    raddr: Addr | tuple[()]
    status: str
    pid: int | None


def row(
    local: tuple[str, int] | None,
    remote: tuple[str, int] | None,
    status: str = psutil.CONN_ESTABLISHED,
    pid: int | None = 4,
) -> Row:
    return Row(
        -1,
        socket.AF_INET,
        socket.SOCK_STREAM,
        Addr(*local) if local else (),
        Addr(*remote) if remote else (),
        status,
        pid,
    )


def read(monkeypatch: pytest.MonkeyPatch, *rows: Row) -> tuple[list[Socket], list[Listener]]:
    """Return the sockets that the source makes of these rows of psutil's."""

    def net_connections(kind: str) -> list[Row]:
        assert kind == "tcp"
        return list(rows)

    monkeypatch.setattr(psutil, "net_connections", net_connections)
    source = PsutilSource()
    return rows_of(source.full_sockets()), source.listeners()


class TestStates:
    def test_every_status_of_psutil_is_mapped(self) -> None:
        """In the files of other systems too: they are all in the package."""
        package = Path(psutil.__file__).parent
        text = "".join(path.read_text(encoding="utf-8") for path in package.glob("_*.py"))
        known = set(re.findall(r"^CONN_[A-Z0-9_]+ *= *[\"'](\w+)[\"']", text, re.MULTILINE))
        assert known >= {"ESTABLISHED", "DELETE_TCB", "NONE"}
        assert known - PSUTIL_STATES.keys() == set()

    def test_every_state_has_a_status(self) -> None:
        assert set(PSUTIL_STATES.values()) == set(STATE_NAMES)

    def test_status_maps_to_the_state_of_that_name(self) -> None:
        for status, state in PSUTIL_STATES.items():
            if status.lower() in STATE_NAMES.values():
                assert STATE_NAMES[state] == status.lower()

    @pytest.mark.parametrize("status", ["DELETE_TCB", "NONE", "CLOSE"])
    def test_deleted_connection_is_in_close(self, monkeypatch: pytest.MonkeyPatch, status: str) -> None:
        sockets, _ = read(monkeypatch, row(("10.0.0.1", 9100), ("10.0.0.9", 50000), status, 0))
        assert [one.state for one in sockets] == [CLOSE]


class TestStandIn:
    def test_windows_rows_are_read(self, monkeypatch: pytest.MonkeyPatch) -> None:
        sockets, listeners = read(
            monkeypatch,
            row(("0.0.0.0", 9100), None, psutil.CONN_LISTEN, 1234),
            row(("::", 9100), None, psutil.CONN_LISTEN, 1234),
            row(("10.0.0.1", 9100), ("10.0.0.9", 50000), psutil.CONN_CLOSE_WAIT, 1234),
            row(("10.0.0.1", 9100), ("10.0.0.9", 50001), psutil.CONN_TIME_WAIT, 0),
            row(("fe80::1%12", 445), ("fe80::2%12", 50002), psutil.CONN_ESTABLISHED, 4),
        )
        assert listeners == [Listener(bytes(size), 9100, 1234, None, None) for size in (4, 16)]
        ours, theirs = bytes((10, 0, 0, 1)), bytes((10, 0, 0, 9))
        link_local = bytes.fromhex("fe80") + bytes(13)
        # Their order depends on the system.
        assert sorted(sockets, key=attrgetter("remote_port")) == [
            Socket(CLOSE_WAIT, ours, 9100, theirs, 50000, 1234, 0),
            Socket(TIME_WAIT, ours, 9100, theirs, 50001, NO_OWNER_KEY, 0),
            Socket(ESTABLISHED, link_local + b"\1", 445, link_local + b"\2", 50002, 4, 0),
        ]

    @pytest.mark.parametrize("pid", [None, 0])
    def test_owner_key_of_sockets_without_pid(self, monkeypatch: pytest.MonkeyPatch, pid: int | None) -> None:
        sockets, listeners = read(
            monkeypatch,
            row(("10.0.0.1", 1), ("10.0.0.2", 2), pid=pid),
            row(("10.0.0.1", 1), ("10.0.0.2", 2), psutil.CONN_TIME_WAIT, pid),
            row(("10.0.0.1", 1), ("10.0.0.2", 2), psutil.CONN_FIN_WAIT2, pid),
            row(("10.0.0.1", 3), ("10.0.0.2", 2), pid=pid),
            row(("10.0.0.1", 3), None, psutil.CONN_LISTEN, pid),
        )
        assert [one.owner_key for one in sockets] == [
            HIDDEN_OWNER_KEY,
            NO_OWNER_KEY,
            NO_OWNER_KEY,
            NO_OWNER_KEY,
        ]
        assert [one.owner_key for one in listeners] == [HIDDEN_OWNER_KEY]

    def test_connection_shared_by_processes_is_read_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """On macOS and BSD psutil returns it for each of them."""
        monkeypatch.setattr(sys, "platform", "darwin")
        endpoints = ("10.0.0.1", 9100), ("10.0.0.9", 50000)
        sockets, listeners = read(
            monkeypatch,
            *(row(*endpoints, pid=pid) for pid in (12, 7, 9)),
            *(row(endpoints[0], None, psutil.CONN_LISTEN, pid) for pid in (12, 7)),
        )
        assert [one.owner_key for one in sockets] == [7]
        assert [one.owner_key for one in listeners] == [12, 7]

    def test_socket_without_addresses_is_read(self, monkeypatch: pytest.MonkeyPatch) -> None:
        sockets, _ = read(monkeypatch, row(None, None, psutil.CONN_NONE))
        assert sockets == [Socket(CLOSE, b"", 0, b"", 0, 4, 0)]

    def test_host_without_sockets_is_read(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert read(monkeypatch) == ([], [])

    @pytest.mark.parametrize("failure", [psutil.AccessDenied(), PermissionError("refused")])
    def test_errors_of_psutil_are_raised(self, monkeypatch: pytest.MonkeyPatch, failure: Exception) -> None:
        def refuse(_: str) -> list[Row]:
            raise failure

        monkeypatch.setattr(psutil, "net_connections", refuse)
        with pytest.raises(type(failure)):
            list(PsutilSource().full_sockets())


def test_close_wait_sockets_have_neither_queues_nor_times(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [row(("10.0.0.1", 80), ("10.0.0.9", 1), status) for status in ("ESTABLISHED", "CLOSE_WAIT")]
    monkeypatch.setattr(psutil, "net_connections", lambda _: rows)
    source = PsutilSource()
    sockets = rows_of(source.full_sockets())
    assert source.close_wait_sockets() == [
        CloseWaitSocket(sockets[1], None, None, None, None, None, None, mptcp=False)
    ]


def test_keys_of_a_batch_are_its_sockets() -> None:
    rows = [Socket(ESTABLISHED, LOOPBACK, 1, LOOPBACK, 2, pid, 0) for pid in (7, 0, 4294967295)]
    (made,) = to_batches(rows)
    assert list(made.keys) == rows
    assert made.keyspace == KeySpace(ESTABLISHED)
    assert memoryview(made.owner_key_column).cast("I").tolist() == [7, 0, 4294967295]
    taken = made.select([2, 0])
    assert list(taken) == list(taken) == [rows[2], rows[0]]
    assert list(taken.owner_keys()) == [4294967295, 7]
