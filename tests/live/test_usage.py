"""Resources that processes use, compared with the kernel: queue bytes, accept queues, file descriptors."""

from __future__ import annotations

import os
import re
import resource
import socket
import subprocess
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import pytest
from prometheus_client.core import Metric

from exporter.collection.tracker import SocketTracker

from ..metrics.families import collect, values
from ..tools import require
from .helpers import wait_until
from .in_process import HOME, connect, fork_process, kill, make_tracker, serve, set_comm
from .namespace import Namespace

pytestmark = [pytest.mark.live, require("ip", "nft", "ss")]

SS_ROW = re.compile(r'^(\S+) +(\d+) +(\d+) .*users:\(\("([^"]+)"', re.MULTILINE)

Labels = tuple[str, ...]


def export(tracker: SocketTracker) -> dict[str, Metric]:
    return collect(tracker.snapshot())


class Queues(NamedTuple):
    """Unread and unacknowledged bytes by process, without zeros."""

    unread: Counter[str]
    unsent: Counter[str]


def ss_queues() -> Queues:
    """Return the sums over the sockets of `ss -tanp` that are not listening."""
    queues = Queues(Counter(), Counter())
    listing = subprocess.run(["ss", "-Htanp"], capture_output=True, text=True, check=True).stdout
    for state, unread, unsent, name in SS_ROW.findall(listing):
        if state != "LISTEN":
            queues.unread[name] += int(unread)
            queues.unsent[name] += int(unsent)
    return Queues(+queues.unread, +queues.unsent)


def exported_queues(tracker: SocketTracker) -> Queues:
    families = export(tracker)
    unread, unsent = (
        Counter(
            {name: int(value) for (name,), value in values(families[f"socket_{queue}_queue_bytes"]).items()}
        )
        for queue in ("receive", "send")
    )
    return Queues(+unread, +unsent)


def send_without_reader() -> object:
    clients = [socket.create_connection((HOME, 8001)) for _ in range(4)]
    clients[0].sendall(bytes(1_000))
    clients[1].sendall(bytes(2_345))
    clients[1].shutdown(socket.SHUT_WR)
    clients[2].setblocking(False)
    with suppress(BlockingIOError):
        while True:
            clients[2].send(bytes(100_000))
    return clients


def fill_queues() -> tuple[Queues, Queues]:
    set_comm("reader")
    server = serve(8001)
    writer = fork_process("writer", send_without_reader)
    accepted = [server.accept()[0] for _ in range(4)]
    tracker, by_ss = make_tracker(), ss_queues()
    exported = by_ss

    def is_stable() -> bool:
        """Return whether the queues were the same before and after the collection."""
        nonlocal by_ss, exported
        before, exported, by_ss = by_ss, exported_queues(tracker), ss_queues()
        return bool(by_ss.unread and before == by_ss)

    wait_until(is_stable)
    kill(writer)
    assert accepted
    return by_ss, exported


def test_queue_bytes_by_process_equal_those_of_ss(namespace: Namespace) -> None:
    by_ss, exported = namespace.call(fill_queues)
    assert exported == by_ss
    assert by_ss.unread["reader"] > 1_000 + 2_346
    assert by_ss.unsent["writer"] > 0


def queues_before_and_after_recv() -> list[Queues]:
    set_comm("pair")
    tracker, (client, accepted) = make_tracker(), connect(serve(8002))
    steps = [exported_queues(tracker)]
    client.sendall(bytes(77))
    wait_until(lambda: len(accepted.recv(100, socket.MSG_PEEK)) == 77)
    steps.append(exported_queues(tracker))
    accepted.recv(100)
    steps.append(exported_queues(tracker))
    return steps


def test_queue_bytes_of_a_known_connection_are_current(namespace: Namespace) -> None:
    empty = Queues(Counter(), Counter())
    assert namespace.call(queues_before_and_after_recv) == [empty, Queues(Counter(pair=77), Counter()), empty]


class AcceptQueue(NamedTuple):
    """The exported values of an accept queue, and the counters of dropped connections."""

    length: float
    limit: float
    overflows: float
    drops: float


def accept_queue(tracker: SocketTracker, process: str, port: str) -> AcceptQueue:
    families = export(tracker)
    queue = (
        values(families[f"socket_listener_accept_queue_{what}"])[process, port]
        for what in ("length", "limit")
    )
    kernel = (values(families[f"socket_kernel_listen_{what}"])[()] for what in ("overflows", "drops"))
    return AcceptQueue(*queue, *kernel)


def overflow_accept_queue() -> tuple[AcceptQueue, AcceptQueue, int]:
    set_comm("stalled")
    server = socket.create_server((HOME, 8003), backlog=2)
    tracker = make_tracker()
    before = accept_queue(tracker, "stalled", "8003")
    clients = [socket.socket() for _ in range(6)]
    for client in clients:
        client.setblocking(False)
        client.connect_ex(server.getsockname())
    after = before

    def has_overflowed() -> bool:
        nonlocal after
        after = accept_queue(tracker, "stalled", "8003")
        return after.overflows >= 3

    wait_until(has_overflowed)
    states = values(export(tracker)["socket_states"])
    return before, after, int(states["established", "stalled", "inbound"])


def test_full_accept_queue_and_its_overflows(namespace: Namespace) -> None:
    before, after, established = namespace.call(overflow_accept_queue)
    assert before == AcceptQueue(length=0, limit=2, overflows=0, drops=0)
    # The queue takes one more than the backlog (sk_acceptq_is_full).
    assert (after.length, after.limit, established) == (3, 2, 3)
    assert after.drops >= after.overflows >= 3


def open_descriptors(count: int) -> Callable[[], object]:
    """Return a function that opens `count` descriptors, one of them a listener, with a limit of 64."""

    def act() -> object:
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
        server, directory = serve(8100 + count), Path("/proc/self/fd")
        # The descriptor that lists them is listed, too.
        while len(list(directory.iterdir())) - 1 < count:
            os.dup(2)
        return server

    return act


def fd_metrics() -> tuple[dict[Labels, float], dict[Labels, float]]:
    pids = [fork_process("greedy", open_descriptors(count)) for count in (60, 52)]
    pids.append(fork_process("modest", open_descriptors(50)))
    families = export(make_tracker())
    for pid in pids:
        kill(pid)
    return values(families["socket_process_open_fds"]), values(families["socket_process_worst_fd_ratio"])


def test_open_fds_are_summed_and_the_worst_ratio_is_exported(namespace: Namespace) -> None:
    open_fds, worst_ratio = namespace.call(fd_metrics)
    assert open_fds == {("greedy",): 112, ("modest",): 50}
    assert worst_ratio == {("greedy",): 60 / 64, ("modest",): 50 / 64}
