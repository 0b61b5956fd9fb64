"""Workers with a listener each on one port (SO_REUSEPORT), one of which has stopped accepting."""

from __future__ import annotations

import socket
import threading
from collections import Counter

import pytest

from exporter.model.groups import Direction
from exporter.model.sockets import CLOSE_WAIT, ESTABLISHED

from ..tools import require
from .helpers import wait_until
from .in_process import HOME, fork_process, kill, make_tracker
from .namespace import Namespace

pytestmark = [pytest.mark.live, require("ip", "nft", "ss")]

CLIENTS = 80

Unaccepted = tuple[Counter[tuple[str, int]], dict[str, int]]
"""(process, state) -> inbound sockets, and process -> length of its accept queue."""


def work(*, accepting: bool) -> list[socket.socket]:
    """Listen on port 8080, and accept connections in a thread."""
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    listener.bind((HOME, 8080))
    listener.listen(CLIENTS)
    held = [listener]

    def accept() -> None:
        while True:
            held.append(listener.accept()[0])

    if accepting:
        threading.Thread(target=accept, daemon=True).start()
    return held


def stop_one_worker() -> tuple[Unaccepted, Unaccepted]:
    workers = [
        fork_process(f"worker{number}", lambda number=number: work(accepting=number != 2))  # type: ignore[misc]
        for number in range(4)
    ]
    tracker = make_tracker()
    clients = [socket.create_connection((HOME, 8080)) for _ in range(CLIENTS)]

    def look() -> Unaccepted:
        snapshot = tracker.snapshot()
        counts: Counter[tuple[str, int]] = Counter()
        for group, count in (snapshot.groups or {}).items():
            if group.direction is Direction.INBOUND:
                counts[snapshot.names.get(group.owner, "unknown"), group.state] += count
        return counts, {
            snapshot.names[owner]: listener.queue_length or 0 for listener, owner in snapshot.listeners or ()
        }

    wait_until(lambda: sum(1 for length in look()[1].values() if length) == 1)
    opened = look()
    for client in clients:
        client.shutdown(socket.SHUT_WR)
    closed = look()
    for pid in workers:
        kill(pid)
    return opened, closed


def test_unaccepted_connections_belong_to_the_worker_whose_queue_holds_them(namespace: Namespace) -> None:
    for state, (counts, queues) in zip(
        (ESTABLISHED, CLOSE_WAIT), namespace.call(stop_one_worker), strict=True
    ):
        assert queues.keys() == {f"worker{number}" for number in range(4)}
        assert [name for name, length in queues.items() if length] == ["worker2"]
        assert counts["worker2", state] == queues["worker2"] > 0
        assert sum(counts[f"worker{number}", state] for number in range(4)) == CLIENTS
