"""What processes use, against the kernel's word: bytes in queues, accept queues, file descriptors."""

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
from .looking import HOME, connect, end, in_another_process, observer, serve, take_name
from .namespace import Namespace

pytestmark = [pytest.mark.live, require("ip", "nft", "ss")]

SS_ROW = re.compile(r'^(\S+) +(\d+) +(\d+) .*users:\(\("([^"]+)"', re.MULTILINE)

Labels = tuple[str, ...]


def export(eyes: SocketTracker) -> dict[str, Metric]:
    return collect(eyes.snapshot())


class Queues(NamedTuple):
    """Unread and unacknowledged bytes by process, without zeros."""

    unread: Counter[str]
    unsent: Counter[str]


def queues_of_ss() -> Queues:
    """The sums of what `ss -tanp` says of sockets that are not listening."""
    found = Queues(Counter(), Counter())
    listing = subprocess.run(["ss", "-Htanp"], capture_output=True, text=True, check=True).stdout
    for state, unread, unsent, name in SS_ROW.findall(listing):
        if state != "LISTEN":
            found.unread[name] += int(unread)
            found.unsent[name] += int(unsent)
    return Queues(+found.unread, +found.unsent)


def queues_exported(eyes: SocketTracker) -> Queues:
    families = export(eyes)
    unread, unsent = (
        Counter(
            {name: int(value) for (name,), value in values(families[f"socket_{queue}_queue_bytes"]).items()}
        )
        for queue in ("receive", "send")
    )
    return Queues(+unread, +unsent)


def write_more_than_is_read() -> object:
    calling = [socket.create_connection((HOME, 8001)) for _ in range(4)]
    calling[0].sendall(bytes(1_000))
    calling[1].sendall(bytes(2_345))
    calling[1].shutdown(socket.SHUT_WR)
    calling[2].setblocking(False)
    with suppress(BlockingIOError):
        while True:
            calling[2].send(bytes(100_000))
    return calling


def fill_queues() -> tuple[Queues, Queues]:
    take_name("reader")
    server = serve(8001)
    writer = in_another_process("writer", write_more_than_is_read)
    accepted = [server.accept()[0] for _ in range(4)]
    eyes, shown = observer(), queues_of_ss()
    found = shown

    def stood_still() -> bool:
        """Whether nothing moved while the exporter looked."""
        nonlocal shown, found
        before, found, shown = shown, queues_exported(eyes), queues_of_ss()
        return bool(shown.unread and before == shown)

    wait_until(stood_still)
    end(writer)
    assert accepted
    return shown, found


def test_bytes_in_queues_are_those_that_ss_shows_for_the_process(namespace: Namespace) -> None:
    shown, found = namespace.call(fill_queues)
    assert found == shown
    assert shown.unread["reader"] > 1_000 + 2_346
    assert shown.unsent["writer"] > 0


def empty_and_fill() -> list[Queues]:
    take_name("pair")
    eyes, (calling, accepted) = observer(), connect(serve(8002))
    steps = [queues_exported(eyes)]
    calling.sendall(bytes(77))
    wait_until(lambda: len(accepted.recv(100, socket.MSG_PEEK)) == 77)
    steps.append(queues_exported(eyes))
    accepted.recv(100)
    steps.append(queues_exported(eyes))
    return steps


def test_a_connection_seen_before_is_told_with_what_its_queue_holds_now(namespace: Namespace) -> None:
    empty = Queues(Counter(), Counter())
    assert namespace.call(empty_and_fill) == [empty, Queues(Counter(pair=77), Counter()), empty]


class Backlog(NamedTuple):
    """What is exported of an accept queue, and of what did not get into it."""

    length: float
    limit: float
    overflows: float
    drops: float


def backlog(eyes: SocketTracker, process: str, port: str) -> Backlog:
    families = export(eyes)
    queue = (
        values(families[f"socket_listener_accept_queue_{what}"])[process, port]
        for what in ("length", "limit")
    )
    kernel = (values(families[f"socket_kernel_listen_{what}"])[()] for what in ("overflows", "drops"))
    return Backlog(*queue, *kernel)


def overflow() -> tuple[Backlog, Backlog, int]:
    take_name("stalled")
    server = socket.create_server((HOME, 8003), backlog=2)
    eyes = observer()
    before = backlog(eyes, "stalled", "8003")
    calling = [socket.socket() for _ in range(6)]
    for one in calling:
        one.setblocking(False)
        one.connect_ex(server.getsockname())
    after = before

    def refused() -> bool:
        nonlocal after
        after = backlog(eyes, "stalled", "8003")
        return after.overflows >= 3

    wait_until(refused)
    states = values(export(eyes)["socket_states"])
    return before, after, int(states["established", "stalled", "inbound"])


def test_a_full_accept_queue_is_seen_as_it_is_and_its_overflows_are_counted(namespace: Namespace) -> None:
    before, after, waiting = namespace.call(overflow)
    assert before == Backlog(length=0, limit=2, overflows=0, drops=0)
    # The queue takes one more than the backlog (sk_acceptq_is_full).
    assert (after.length, after.limit, waiting) == (3, 2, 3)
    assert after.drops >= after.overflows >= 3


def open_descriptors(count: int) -> Callable[[], object]:
    """What a process of at most 64 descriptors does to have `count` of them, one a listener."""

    def act() -> object:
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
        server, directory = serve(8100 + count), Path("/proc/self/fd")
        # The one by which they are listed is listed too.
        while len(list(directory.iterdir())) - 1 < count:
            os.dup(2)
        return server

    return act


def look_at_descriptors() -> tuple[dict[Labels, float], dict[Labels, float]]:
    holders = [in_another_process("greedy", open_descriptors(count)) for count in (60, 52)]
    holders.append(in_another_process("modest", open_descriptors(50)))
    families = export(observer())
    for holder in holders:
        end(holder)
    return values(families["socket_process_open_fds"]), values(families["socket_process_worst_fd_ratio"])


def test_descriptors_are_summed_and_the_process_nearest_to_its_limit_is_told(namespace: Namespace) -> None:
    opened, worst = namespace.call(look_at_descriptors)
    assert opened == {("greedy",): 112, ("modest",): 50}
    assert worst == {("greedy",): 60 / 64, ("modest",): 50 / 64}
