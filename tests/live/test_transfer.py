"""Connections that another process takes over: after a fork, through a UNIX socket, at a parent's end."""

from __future__ import annotations

import os
import signal
import socket
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import closing
from itertools import chain

import pytest

from exporter.model.groups import Direction
from exporter.model.snapshot import Snapshot
from exporter.model.sockets import CLOSE_WAIT, ESTABLISHED, LISTEN

from ..tools import require
from .in_process import connect, make_tracker, serve, set_comm
from .namespace import Namespace
from .stepwise import Steps, Stepwise, raise_fd_limit

pytestmark = [pytest.mark.live, require("ip", "nft", "ss")]

PORT = 8601

Owners = Counter[str]
"""Name of the process -> its inbound connections."""

Sockets = Sequence[socket.socket]


def inbound(snapshot: Snapshot, state: int = ESTABLISHED) -> Owners:
    assert not snapshot.failed
    owners: Owners = Counter()
    for group, count in (snapshot.groups or {}).items():
        if group.state == state and group.direction is (
            Direction.NONE if state == LISTEN else Direction.INBOUND
        ):
            owners[snapshot.names.get(group.owner, "unknown")] += count
    return owners


def close_all(sockets: Sockets) -> None:
    for sock in sockets:
        sock.close()


def in_close_wait(snapshot: Snapshot) -> Owners:
    """Return the owners of connections in CLOSE_WAIT, on which both families agree."""
    owners = inbound(snapshot, CLOSE_WAIT)
    rows = Counter(snapshot.names.get(row.group.owner, "unknown") for row in snapshot.close_wait or ())
    assert rows == owners
    return owners


def follow(
    counts: Sequence[int],
    steps: Callable[[Sequence[Sockets]], Steps],
    scrapes: int,
    *,
    churn: int = 0,
    look: Callable[[Snapshot], Owners] = inbound,
) -> list[Owners]:
    """Return the owners before a transfer, and in each collection after it.

    counts: sizes of lists of accepted connections, which `steps` gets in a process named `parent`. Its
        second step transfers.
    churn: number of connections that the client closes and opens between collections, accepted by `web`.
    """
    set_comm("client")
    raise_fd_limit(20_000)
    tracker, server = make_tracker(), serve(PORT)
    pairs = [[connect(server) for _ in range(count)] for count in counts]
    accepted = [[pair[1] for pair in group] for group in pairs]

    def web() -> Steps:
        while True:
            held = [server.accept()[0] for _ in range(churn)]
            yield
            close_all(held)

    with Stepwise("parent", lambda: steps(accepted)) as parent:
        for group in accepted:
            close_all(group)
        if look is in_close_wait:
            for client, _ in chain.from_iterable(pairs):
                client.shutdown(socket.SHUT_WR)
        replaced = [socket.create_connection(server.getsockname()) for _ in range(churn)]
        with Stepwise("web", web) as worker:
            seen = [look(tracker.snapshot()), look(tracker.snapshot())]
            parent.step()
            for _ in range(scrapes):
                close_all(replaced)
                replaced = [socket.create_connection(server.getsockname()) for _ in range(churn)]
                worker.step()
                seen.append(look(tracker.snapshot()))
    return seen


def keep(held: Sequence[Sockets]) -> Steps:
    while True:
        yield held


def fork_and_close(groups: Sequence[Sockets], known_child: bool = True) -> Steps:
    """Fork a child, and close the copies of the first group."""
    transferred, *others = groups

    def child() -> Steps:
        for group in others:
            close_all(group)
        yield

    if not known_child:
        yield
    with Stepwise("child", child):
        if known_child:
            yield
        close_all(transferred)
        yield from keep(others)


def fork_unknown_and_close(groups: Sequence[Sockets]) -> Steps:
    return fork_and_close(groups, known_child=False)


@pytest.mark.parametrize("steps", [fork_and_close, fork_unknown_and_close])
def test_forked_child_keeps_what_the_parent_closes(
    namespace: Namespace, steps: Callable[[Sequence[Sockets]], Steps]
) -> None:
    before, _, *after = namespace.call(follow, [400], steps, 3)
    assert before == {"parent": 400}
    assert after[2] == {"child": 400}


def test_leak_is_blamed_on_the_child_that_keeps_it(namespace: Namespace) -> None:
    before, _, *after = namespace.call(follow, [50, 10], fork_and_close, 3, look=in_close_wait)
    assert before == {"parent": 60}
    assert after[2] == {"parent": 10, "child": 50}


@pytest.mark.parametrize("churn", [0, 30])
def test_few_transfers_among_thousands_are_found(namespace: Namespace, churn: int) -> None:
    before, _, *after = namespace.call(follow, [20, 4000], fork_and_close, 3, churn=churn)
    web = {"web": churn} if churn else {}
    assert before == {"parent": 4020, **web}
    assert after[2] == {"parent": 4000, "child": 20, **web}


def send_through_unix_socket(groups: Sequence[Sockets]) -> Steps:
    """Send the first group to a process that exists already, in parts: one message has 253 descriptors."""
    transferred, *others = groups
    sender, receiver = socket.socketpair()

    def receive() -> Steps:
        close_all([sender, *transferred])
        for group in others:
            close_all(group)
        yield
        held = []
        while fds := socket.recv_fds(receiver, 1, 100)[1]:
            held += fds
            if len(held) == len(transferred):
                break
        yield from keep([held])  # type: ignore[list-item]  # they are only kept

    with Stepwise("receiver", receive) as process:
        yield
        for start in range(0, len(transferred), 100):
            socket.send_fds(sender, [b"."], [sock.fileno() for sock in transferred[start : start + 100]])
        process.step()
        close_all(transferred)
        yield from keep(others)


@pytest.mark.parametrize("others", [0, 1000])
def test_connections_sent_through_a_unix_socket_are_the_receivers(namespace: Namespace, others: int) -> None:
    before, _, *after = namespace.call(follow, [200, others], send_through_unix_socket, 3)
    assert before == {"parent": 200 + others}
    assert after[2] == Counter(receiver=200, parent=others)


def open_at_the_same_time(groups: Sequence[Sockets]) -> Steps:
    """Accept as many connections as are transferred, so that as many descriptors are open as before."""
    transferred, late = groups

    def child() -> Steps:
        close_all(late)
        yield

    with closing(serve(PORT + 1)) as server, Stepwise("child", child):
        yield
        pairs = [connect(server) for _ in transferred]
        close_all(transferred)
        yield from keep([late, [sock for pair in pairs for sock in pair]])


def test_transfer_is_found_if_as_many_are_accepted(namespace: Namespace) -> None:
    before, _, *after = namespace.call(follow, [50, 50], open_at_the_same_time, 3)
    assert before == {"parent": 100}
    assert after[2] == {"parent": 100, "child": 50}


def test_owner_is_the_parent_while_it_keeps_the_sockets(namespace: Namespace) -> None:
    seen = namespace.call(follow, [40], share_with_child, 3)
    assert seen == [{"parent": 40}] * 5


def share_with_child(groups: Sequence[Sockets]) -> Steps:
    with Stepwise("child", lambda: keep(groups)):
        yield from keep(groups)


def exit_after_fork(groups: Sequence[Sockets]) -> Steps:
    """Have the child close its copies and exit while the parent keeps its own."""
    with Stepwise("child", lambda: keep(groups)):
        yield
    yield from keep(groups)


def test_child_that_exits_changes_nothing(namespace: Namespace) -> None:
    seen = namespace.call(follow, [40], exit_after_fork, 3)
    assert seen == [{"parent": 40}] * 5


def follow_listener() -> list[tuple[Owners, Owners]]:
    """Have a child take over a listener, with connections that wait to be accepted."""
    set_comm("client")
    tracker, server = make_tracker(), serve(PORT)

    def parent() -> Steps:
        with Stepwise("child", lambda: keep([[server]])):
            yield
            server.close()
            yield

    with Stepwise("parent", parent) as process:
        clients = [socket.create_connection(server.getsockname()) for _ in range(5)]
        server.close()
        seen = []
        for step in range(4):
            if step == 1:
                process.step()
            snapshot = tracker.snapshot()
            seen.append((inbound(snapshot, LISTEN), inbound(snapshot)))
        close_all(clients)
    return seen


def test_listener_and_its_queue_belong_to_the_child_that_keeps_it(namespace: Namespace) -> None:
    before, *after = namespace.call(follow_listener)
    assert before == ({"parent": 1}, {"parent": 5})
    assert after[2] == ({"child": 1}, {"child": 5})


def follow_parents_exit() -> list[Owners]:
    set_comm("client")
    tracker, server = make_tracker(), serve(PORT)
    pairs = [connect(server) for _ in range(40)]
    accepted = [pair[1] for pair in pairs]
    child_pid, report = os.pipe()

    def parent() -> Steps:
        child = Stepwise("child", lambda: keep([accepted]), outlives=True)
        os.write(report, str(child.pid).encode())
        yield

    with Stepwise("parent", parent):
        close_all(accepted)
        seen = [inbound(tracker.snapshot())]
    seen += [inbound(tracker.snapshot()), inbound(tracker.snapshot())]
    os.kill(int(os.read(child_pid, 20)), signal.SIGKILL)
    return seen


def test_child_owns_the_sockets_of_a_parent_that_exits(namespace: Namespace) -> None:
    assert namespace.call(follow_parents_exit) == [{"parent": 40}, {"child": 40}, {"child": 40}]
