"""A transfer that goes on after the client has shut down its side is told from a leak by its last send."""

from __future__ import annotations

import socket
import threading
import time
from typing import Final

import pytest

from exporter.model.close_wait import Cause
from exporter.netlink.source import NetlinkSource
from exporter.tracking.close_wait_tracker import AgeTracker, cause_of

from .namespace import Namespace

pytestmark = pytest.mark.live

SEND_EVERY: Final = 0.3
RECHECKED_AFTER: Final = 5.5
"""Seconds between the two collections: longer than the first interval of TcpInfoCache."""


class Connection:
    """A connection whose client has shut down its side, and whose server keeps it."""

    def __init__(self, server: socket.socket, *, is_answered: bool = False, is_read: bool = True) -> None:
        self._client = socket.create_connection(server.getsockname())
        self.server, (_, self.client_port) = server.accept()
        self._client.sendall(b"request")
        assert self.server.recv(7, socket.MSG_WAITALL) == b"request"
        if is_answered:
            time.sleep(1.5)
            self.server.sendall(b"response")
            assert self._client.recv(8, socket.MSG_WAITALL) == b"response"
        self._client.shutdown(socket.SHUT_WR)
        if is_read:
            assert self.server.recv(1) == b""


def send_slowly(connections: list[Connection], stop: threading.Event) -> None:
    while not stop.wait(SEND_EVERY):
        for connection in connections:
            connection.server.sendall(b"part")


def observe_causes() -> list[dict[str, Cause]]:
    """Return the causes by connection of two collections. All have nothing left to send at that moment."""
    stop = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:
        connections = {
            "transfer": Connection(server),
            "transfer, FIN unread": Connection(server, is_read=False),
            "leak": Connection(server),
            "leak, answered just before the FIN": Connection(server, is_answered=True),
            "hang": Connection(server, is_read=False),
        }
        names = {connection.client_port: name for name, connection in connections.items()}
        transfers = [connection for name, connection in connections.items() if name.startswith("transfer")]
        sender = threading.Thread(target=send_slowly, args=(transfers, stop))
        sender.start()
        try:
            source, ages = NetlinkSource(), AgeTracker()
            causes = []
            for pause in (1.0, RECHECKED_AFTER):
                time.sleep(pause)
                causes.append(collect_causes(source, ages, names))
            return causes
        finally:
            stop.set()
            sender.join()


def collect_causes(source: NetlinkSource, ages: AgeTracker, names: dict[int, str]) -> dict[str, Cause]:
    """Collect again if a send is in progress."""
    while True:
        for _ in source.full_sockets():
            pass
        sockets = source.close_wait_sockets()
        by_age = zip(sockets, ages.update(sockets, time.monotonic()), strict=True)
        if not any(sock.send_queue_bytes for sock in sockets):
            return {names[sock.socket.remote_port]: cause_of(sock, age) for sock, age in by_age}


def test_half_closed_transfer_is_sending_and_leaks_are_not(namespace: Namespace) -> None:
    first, last = namespace.call(observe_causes)
    assert last == {
        "transfer": "sending",
        "transfer, FIN unread": "sending",
        "leak": "not_closed",
        "leak, answered just before the FIN": "not_closed",
        "hang": "not_read",
    }
    # The first collection cannot know.
    assert first == last | {"transfer": "not_closed", "transfer, FIN unread": "not_read"}
