"""Dead file descriptors of real processes: connections that have ended, and that the process keeps open."""

from __future__ import annotations

import os
import socket
import struct
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Final, ParamSpec, TypeVar

import pytest

from exporter.model.process import ProcessId
from exporter.model.snapshot import Snapshot
from exporter.model.sockets import CLOSE_WAIT, Listener
from exporter.netlink.source import NetlinkSource

from ..running import running, until
from ..tools import require
from .helpers import UNPRIVILEGED, Scrape, scrape
from .in_process import HOME, connect, fork_process, kill, make_tracker, serve, set_comm
from .namespace import Namespace, missing

pytestmark = [pytest.mark.live, require("ip", "nft", "ss")]

PORT: Final = 8001
LEAK: Final = 7
RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)
IPPROTO_MPTCP: Final = 262

P = ParamSpec("P")
T = TypeVar("T")

LOST: Final = "lost"
UNKNOWN: Final = "unknown"


def reset(sock: socket.socket) -> None:
    """Close a socket with an RST, after which the connection is in no table of the peer."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
    sock.close()


def lose(server: socket.socket, count: int) -> list[socket.socket]:
    """Return accepted sockets whose connections have been reset."""
    pairs = [connect(server) for _ in range(count)]
    for client, _ in pairs:
        reset(client)
    return [accepted for _, accepted in pairs]


def dead(snapshot: Snapshot, pid: int | None = None) -> Counter[str]:
    """Return the number of dead descriptors of a process, by default of this one, by connection."""
    assert snapshot.dead_fds is not None
    pid = os.getpid() if pid is None else pid
    rows = [row for row in snapshot.dead_fds if row.owner.pid == pid]
    return Counter(LOST if row.was_connected else UNKNOWN for row in rows)


def call_in(namespace: Namespace, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call the function inside, in a process that has none of the sockets of the test run."""

    def call() -> T:
        with Path("/dev/null").open() as null:
            for link in Path("/proc/self/fd").iterdir():
                with suppress(FileNotFoundError):
                    if link.readlink().name.startswith("socket:"):
                        os.dup2(null.fileno(), int(link.name), inheritable=False)
            return function(*args, **kwargs)

    return namespace.call(call)


@contextmanager
def forked(name: str, act: Callable[[], object]) -> Iterator[int]:
    """Yield the pid of a process that has called `act`, and keeps its result."""
    pid = fork_process(name, act)
    try:
        yield pid
    finally:
        kill(pid)


def leak_with_keepalive() -> list[object]:
    """Return a server's sockets whose clients have closed. With keepalive, as Go's net.Listen sets it by
    itself (net.ListenConfig.KeepAlive, 15 s), but every second."""
    server = serve(PORT)
    held: list[object] = [server]
    for _ in range(LEAK):
        client, accepted = connect(server)
        accepted.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 1)
        accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 1)
        client.close()
        held.append(accepted)
    return held


def count_close_wait(snapshot: Snapshot) -> int:
    return sum(count for group, count in (snapshot.groups or {}).items() if group.state == CLOSE_WAIT)


def watch_keepalive_leak() -> None:
    tracker = make_tracker()
    with forked("leaky", leak_with_keepalive) as pid:
        first = tracker.snapshot()
        assert (count_close_wait(first), dead(first, pid)) == (LEAK, {})
        for _ in until("no connection is in CLOSE_WAIT"):
            if not count_close_wait(tracker.snapshot()):
                break
        last = tracker.snapshot()
        assert dead(last, pid) == {LOST: LEAK}
        (owner,) = {row.owner for row in last.dead_fds or ()}
        assert last.process_name(owner) == "leaky"
        assert last.fd_usage[owner].open > LEAK
        time.sleep(0.2)
        ages = [row.age_seconds for row in tracker.snapshot().dead_fds or ()]
        assert min(ages) >= 0.2
    assert dead(tracker.snapshot(), pid) == {}


def test_leak_with_keepalive_moves_from_close_wait_to_lost(namespace: Namespace) -> None:
    namespace.sysctl("net.ipv4.tcp_fin_timeout", 1)
    call_in(namespace, watch_keepalive_leak)


def client_with_dead_sockets() -> list[socket.socket]:
    """Return sockets of a client, which has no others: the server has reset its connections."""
    server = serve(PORT)
    pairs = [connect(server) for _ in range(30)]
    for _, accepted in pairs:
        reset(accepted)
    server.close()
    return [client for client, _ in pairs]


def watch_client() -> None:
    tracker = make_tracker()
    with forked("poolclient", client_with_dead_sockets) as pid:
        tracker.snapshot()  # reads the descriptors, after its dump
        assert dead(tracker.snapshot(), pid) == {}
        snapshot = tracker.snapshot()
        assert dead(snapshot, pid) == {UNKNOWN: 30}
        assert [usage.open >= 30 for owner, usage in snapshot.fd_usage.items() if owner.pid == pid] == [True]


def test_client_without_live_sockets_is_found(namespace: Namespace) -> None:
    call_in(namespace, watch_client)


CLIENT_PROGRAM: Final = """
import pathlib, socket, struct, sys
pathlib.Path("/proc/self/comm").write_text("poolclient")
server = socket.create_server(("127.0.0.1", 0))
clients = [socket.create_connection(server.getsockname()) for _ in range(30)]
for _ in clients:
    accepted = server.accept()[0]
    accepted.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    accepted.close()
server.close()
print("ready", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def client_pid(namespace: Namespace) -> int:
    """Return the pid of a client all of whose 30 sockets are dead."""
    process = namespace.popen([sys.executable, "-ISc", CLIENT_PROGRAM])
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process.pid


def test_single_collection_finds_dead_fds(namespace: Namespace, client_pid: int) -> None:
    result = scrape(namespace)
    assert result.by("socket_dead_fds", "process", "connection", process="poolclient") == {
        ("poolclient", "unknown"): 30
    }
    assert result.by("socket_dead_fds_age_seconds_gcount", "process")["poolclient",] == 30
    open_fds = len(list(Path(f"/proc/{client_pid}/fd").iterdir()))
    assert result.by("socket_process_open_fds", "process")["poolclient",] == open_fds
    assert "poolclient" in {
        sample.labels["process"] for sample in result.samples["socket_process_worst_fd_ratio"]
    }


@pytest.mark.parametrize(
    "flag", ["--no-collector.descriptors", "--no-collector.owners", "--source=psutil"], ids=str
)
@pytest.mark.usefixtures("client_pid")
def test_absent_if_not_collected(namespace: Namespace, flag: str) -> None:
    assert "socket_dead_fds" not in scrape(namespace, flag).samples


@pytest.mark.usefixtures("client_pid")
def test_absent_without_permission(namespace: Namespace) -> None:
    if reason := missing("setpriv"):
        pytest.skip(reason)
    trial = [*UNPRIVILEGED, sys.executable, "-P", "-c", "import prometheus_client"]
    if namespace.run(trial, check=False).returncode:
        pytest.skip(f"needs a Python that all users can read, not {sys.executable}")
    result = scrape(namespace, through=UNPRIVILEGED)
    names = {sample.labels["process"] for sample in result.samples.get("socket_dead_fds", ())}
    assert "poolclient" not in names
    (success,) = [
        sample.value
        for sample in result.samples["socket_scrape_collector_success"]
        if sample.labels["collector"] == "descriptors"
    ]
    assert success == 1


def watch_scrapes(log: Path) -> None:
    set_comm("tester")
    server = serve(PORT)
    with running(log) as exporter:
        exporter.get()
        pairs = [connect(server) for _ in range(LEAK)]
        exporter.get()
        for client, _ in pairs:
            reset(client)
        assert "socket_dead_fds" not in Scrape(exporter.get()).samples
        for path in ("/metrics", "/metrics?collect[]=descriptors"):
            result = Scrape(exporter.get(path))
            assert result.by("socket_dead_fds", "process", "connection") == {("tester", LOST): LEAK}
        assert "socket_dead_fds" not in Scrape(exporter.get("/metrics?collect[]=states")).samples
        for _, accepted in pairs:
            accepted.close()
        assert "socket_dead_fds" not in Scrape(exporter.get()).samples


def test_scrapes_over_http(namespace: Namespace, tmp_path: Path) -> None:
    call_in(namespace, watch_scrapes, tmp_path / "log")


def open_other_sockets(stack: ExitStack) -> None:
    """Open every kind of socket that is not dead."""
    server = serve(PORT)
    stack.enter_context(server)
    for sock in connect(server):
        stack.enter_context(sock)
    for family, kind in (
        (socket.AF_UNIX, socket.SOCK_STREAM),
        (socket.AF_UNIX, socket.SOCK_DGRAM),
        (socket.AF_INET, socket.SOCK_DGRAM),
        (socket.AF_INET6, socket.SOCK_DGRAM),
        (socket.AF_NETLINK, socket.SOCK_RAW),
    ):
        stack.enter_context(socket.socket(family, kind))
    bound = stack.enter_context(socket.socket())
    bound.bind((HOME, 0))
    half_closed, peer = connect(server)
    half_closed.shutdown(socket.SHUT_WR)
    stack.enter_context(half_closed)
    stack.enter_context(peer)


def watch_other_sockets() -> None:
    with ExitStack() as stack:
        tracker = make_tracker()
        tracker.snapshot()
        open_other_sockets(stack)
        for _ in range(4):
            assert dead(tracker.snapshot()) == {}
        assert dead(make_tracker(long_running=False).snapshot()) == {}


def test_sockets_in_a_table_and_of_other_protocols_are_not_dead(namespace: Namespace) -> None:
    if tuple(map(int, os.uname().release.split(".")[:2])) < (6, 8):
        pytest.skip("no dump contains bound-only sockets before Linux 6.8")
    call_in(namespace, watch_other_sockets)


def watch_never_connected() -> None:
    tracker = make_tracker()
    with socket.socket(), socket.socket(socket.AF_INET6), socket.socket() as refused:
        assert refused.connect_ex((HOME, 1)) != 0
        for _ in range(3):
            snapshot = tracker.snapshot()
        assert dead(snapshot) == {UNKNOWN: 3}
    assert dead(tracker.snapshot()) == {}


def test_sockets_that_were_never_connected_are_unknown(namespace: Namespace) -> None:
    call_in(namespace, watch_never_connected)


def watch_closed_listener() -> None:
    tracker = make_tracker()
    server = serve(0)
    tracker.snapshot()
    server.shutdown(socket.SHUT_RDWR)
    for _ in range(3):
        snapshot = tracker.snapshot()
    # Without a port of its own, a listener that is shut down leaves every table.
    assert dead(snapshot) == {UNKNOWN: 1}
    server.close()


def test_former_listener_is_unknown(namespace: Namespace) -> None:
    call_in(namespace, watch_closed_listener)


def watch_proper_close() -> None:
    tracker = make_tracker()
    server = serve(PORT)
    for _ in range(4):
        pairs = [connect(server) for _ in range(20)]
        assert dead(tracker.snapshot()) == {}
        for client, accepted in pairs:
            reset(client)
            accepted.close()
    assert dead(tracker.snapshot()) == {}


def test_closed_connections_are_never_dead(namespace: Namespace) -> None:
    call_in(namespace, watch_proper_close)


def watch_close_and_reopen() -> None:
    tracker = make_tracker()
    server = serve(PORT)
    pairs = [connect(server) for _ in range(LEAK)]
    tracker.snapshot()
    for client, _ in pairs:
        reset(client)
    for _ in range(2):
        snapshot = tracker.snapshot()
    assert dead(snapshot) == {LOST: LEAK}
    with ExitStack() as stack:
        for _, accepted in pairs[:3]:
            accepted.close()
        # As many files as descriptors that were closed: their number is the same.
        for _ in range(3):
            stack.enter_context(Path("/dev/null").open())
        assert dead(tracker.snapshot()) == {LOST: LEAK - 3}
        for _, accepted in pairs[3:]:
            accepted.close()
        assert dead(tracker.snapshot()) == {}


def test_fds_that_are_closed_vanish_in_the_next_collection(namespace: Namespace) -> None:
    call_in(namespace, watch_close_and_reopen)


class SlowSource(NetlinkSource):
    """A source during whose dump this process opens sockets, so that the dump lacks them."""

    def __init__(self) -> None:
        super().__init__()
        self.server = serve(PORT)
        self.opened: list[socket.socket] = []

    def listeners(self) -> list[Listener]:
        self.opened += connect(self.server)
        return super().listeners()


def watch_new_sockets() -> None:
    source = SlowSource()
    tracker = make_tracker(source)
    for _ in range(5):
        assert dead(tracker.snapshot()) == {}
    assert len(source.opened) >= 10
    assert dead(make_tracker(source, long_running=False).snapshot()) == {}


def test_socket_newer_than_the_dump_is_not_dead(namespace: Namespace) -> None:
    call_in(namespace, watch_new_sockets)


def watch_shared() -> None:
    tracker = make_tracker()
    server = serve(PORT)
    pairs = [connect(server) for _ in range(LEAK)]
    with forked("sharer", lambda: pairs) as child:
        tracker.snapshot()
        for client, _ in pairs:
            # Only the server's end: both processes have the client's.
            client.shutdown(socket.SHUT_RDWR)
        for _, accepted in pairs:
            accepted.shutdown(socket.SHUT_RDWR)
        for _ in range(2):
            snapshot = tracker.snapshot()
        first, second = sorted((os.getpid(), child))
        assert dead(snapshot, first)[LOST] == 2 * LEAK
        assert dead(snapshot, second) == {}
        for client, accepted in pairs:
            client.close()
            accepted.close()
        before = min(row.age_seconds for row in snapshot.dead_fds or ())
        for _ in range(2):
            snapshot = tracker.snapshot()
        assert dead(snapshot) == {}
        assert dead(snapshot, child) == {LOST: 2 * LEAK}
        assert min(row.age_seconds for row in snapshot.dead_fds or ()) >= before


def test_shared_fds_count_for_the_lowest_pid(namespace: Namespace) -> None:
    call_in(namespace, watch_shared)


def watch_duplicates() -> None:
    tracker = make_tracker()
    (accepted,) = lose(serve(PORT), 1)
    with accepted, accepted.dup():
        for _ in range(3):
            snapshot = tracker.snapshot()
        assert dead(snapshot) == {UNKNOWN: 2}


def test_each_fd_of_a_socket_counts(namespace: Namespace) -> None:
    call_in(namespace, watch_duplicates)


def watch_mptcp() -> None:
    tracker = make_tracker()
    server = socket.socket(socket.AF_INET, socket.SOCK_STREAM, IPPROTO_MPTCP)
    server.bind((HOME, PORT))
    server.listen()
    plain = socket.create_connection((HOME, PORT))
    multipath = socket.socket(socket.AF_INET, socket.SOCK_STREAM, IPPROTO_MPTCP)
    fallback, _ = server.accept()
    multipath.connect((HOME, PORT))
    accepted, _ = server.accept()
    for _ in range(3):
        assert dead(tracker.snapshot()) == {}
    for client in (plain, multipath):
        reset(client)
    for _ in until("both connections are in no table"):
        if dead(tracker.snapshot()) == {LOST: 2}:
            break
    fallback.close()
    accepted.close()
    assert dead(tracker.snapshot()) == {}


def test_connections_of_an_mptcp_listener(namespace: Namespace) -> None:
    """Go 1.24 listens with MPTCP by default: connections of TCP clients then have that name as well."""
    try:
        socket.socket(socket.AF_INET, socket.SOCK_STREAM, IPPROTO_MPTCP).close()
    except OSError as error:
        pytest.skip(f"needs MPTCP: {error}")
    call_in(namespace, watch_mptcp)


def watch_other_namespace(outside: str) -> None:
    tracker = make_tracker()
    server = serve(PORT)
    held = connect(server)
    assert held
    # A process there with a socket of that namespace, which is not in the dump of this one.
    program = "import socket, sys; s = socket.socket(); s.listen(); print(flush=True); sys.stdin.read()"
    command = ["nsenter", f"--net={outside}", sys.executable, "-ISc", program]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        process.stdout.readline()
        for _ in range(4):
            assert dead(tracker.snapshot(), process.pid) == {}
        assert dead(make_tracker(long_running=False).snapshot(), process.pid) == {}
        process.stdin.close()


def test_processes_in_other_network_namespaces_are_not_examined(namespace: Namespace) -> None:
    call_in(namespace, watch_other_namespace, f"/proc/{os.getpid()}/ns/net")


def observe_owners() -> set[ProcessId]:
    with ExitStack() as stack:
        for sock in lose(serve(PORT), LEAK):
            stack.enter_context(sock)
        snapshot = make_tracker(long_running=False).snapshot()
        assert dead(snapshot) == {UNKNOWN: LEAK}
        return {row.owner for row in snapshot.dead_fds or ()} - snapshot.names.keys()


def test_every_owner_has_a_name(namespace: Namespace) -> None:
    assert call_in(namespace, observe_owners) == set()
