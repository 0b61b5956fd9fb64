"""Netlink fails, is busy, or stalls: results of a scrape, and recovery.

The kernel cannot be made to; so what it really answers goes through a transport that spoils it.
"""

from __future__ import annotations

import errno
import logging
import re
import socket
import struct
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest
from prometheus_client import generate_latest

from exporter.collection.interfaces import HostReaders
from exporter.collection.tracker import SocketTracker
from exporter.metrics.cardinality import SeriesLimits
from exporter.metrics.collector import SocketCollector
from exporter.naming.rules import Namer
from exporter.netlink import retry
from exporter.netlink.source import NetlinkSource
from exporter.netlink.transport import NetlinkError, SockDiagClient
from exporter.owners.fd_scanner import FdScanner
from exporter.owners.inode_resolver import InodeOwnerResolver
from exporter.owners.process_cache import ProcessCache
from exporter.procfs.fd_usage import read_fd_usage
from exporter.procfs.netstat import read_counters
from exporter.procfs.process_reader import ProcfsProcessReader
from exporter.procfs.sysctl import read_sysctls

from ..netlink.messages import DONE, split
from ..running import value
from .exporters import failing

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")

SOCKETS = {"states", "listeners", "close-wait"}
"""The collectors that use netlink."""

PROC = Path("/proc")

_IN_ONE_BATCH = 100
"""Messages of at most 408 bytes: more than the kernel sends, and less than a socket buffers."""

Fault = Callable[[bytes], None]


# Data that a socket buffers without a reader.
_AT_ONCE = 50


class Spoilt(SockDiagClient):
    """Responses of the real kernel, until a fault is set."""

    def __init__(self) -> None:
        super().__init__(timeout=0.2)
        self.fault: Fault = lambda _: None
        """Called before each response; may raise."""
        self.half: Fault | None = None
        """Called in the middle of a response."""
        self.stalls = False
        self.asked = 0
        self._kernel = SockDiagClient()
        self._stack = ExitStack()
        self._answer: list[bytes] = []

    def dump(self, request: bytes, *, prefetch: bool = False) -> Iterator[bytes]:
        self.asked += 1
        self.fault(request)
        if self.half is None and not self.stalls:
            yield from self._kernel.dump(request, prefetch=prefetch)
        messages = self._messages(request)
        half = min(len(messages) // 2, _AT_ONCE)
        self._answer = messages[:half]
        if self.stalls:
            # Through the real transport, with its deadline: the other end has no more to say.
            yield from super().dump(request, prefetch=prefetch)
        yield from self._answer
        assert self.half
        self.half(request)
        yield from messages[half:]

    def close(self) -> None:
        self._stack.close()

    def _messages(self, request: bytes) -> list[bytes]:
        messages: list[bytes] = []
        for batch in self._kernel.dump(request):
            messages += split(batch)
            if struct.unpack_from("=H", messages[-1], 4) == (DONE,):
                break
        return messages

    def _open(self) -> socket.socket:
        if not self.stalls:
            return super()._open()  # for questions about single sockets
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._stack.callback(theirs.close)
        if self._answer:
            theirs.send(b"".join(self._answer[:_IN_ONE_BATCH]))
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, self._timeout)
        return ours


class Host:
    """Return a tracker of this host that uses the transport."""

    def __init__(self, transport: Spoilt) -> None:
        self.transport = transport
        owners = InodeOwnerResolver(FdScanner(PROC), ProcessCache(ProcfsProcessReader(PROC)))
        readers = HostReaders(
            partial(read_sysctls, PROC), partial(read_counters, PROC), partial(read_fd_usage, PROC)
        )
        tracker = SocketTracker(NetlinkSource(transport), owners, readers, Namer())
        self._collector = SocketCollector(tracker.snapshot, SeriesLimits(1000, 1000, 20_000), "netlink")

    def scrape(self) -> str:
        return generate_latest(self._collector).decode()


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    monkeypatch.setattr(retry, "BACKOFF_SECONDS", (0.001, 0.001, 0.001))
    transport = Spoilt()
    yield Host(transport)
    transport.close()


CONNECTIONS = 4
"""Connections per listener."""


@pytest.fixture
def listeners() -> Iterator[list[int]]:
    """Yield the ports of three listeners, each with some connections."""
    with ExitStack() as stack:
        made = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(3)]
        for listener in made:
            for _ in range(CONNECTIONS):
                stack.enter_context(socket.create_connection(listener.getsockname()))
                stack.enter_context(listener.accept()[0])
        yield [listener.getsockname()[1] for listener in made]


def fails(error: int, times: int = 1_000_000) -> Fault:
    """Return a fault that fails with `error`, `times` times."""
    left = iter(range(times))

    def fail(_: bytes) -> None:
        if next(left, None) is not None:
            raise NetlinkError.from_errno(error, "reading sockets")

    return fail


def logs(caplog: pytest.LogCaptureFixture) -> Counter[tuple[str, str]]:
    return Counter((record.getMessage(), record.__dict__["fields"]["collector"]) for record in caplog.records)


def is_whole(text: str, ports: list[int]) -> bool:
    """Return whether every collector succeeds and each connection is counted once."""
    accepted = [
        value(text, "socket_listener_states", local_port=str(port), state="established") for port in ports
    ]
    return failing(text) == set() and accepted == [CONNECTIONS] * len(ports)


def check_a_lasting_fault(
    host: Host, ports: list[int], caplog: pytest.LogCaptureFixture, fix: Callable[[], None], result: str
) -> None:
    """Failing collectors are absent, others are complete, each failure is logged once, and all recover."""
    caplog.set_level(logging.INFO)
    for _ in range(3):
        text = host.scrape()
        assert failing(text) == SOCKETS
        assert (
            re.findall(r"^socket_(?:states|host_states|listener\w*|close_wait\w*)\{", text, re.MULTILINE)
            == []
        )
        assert value(text, "socket_time_wait_duration_seconds") == 60
        assert value(text, "socket_orphans") is not None
    assert logs(caplog) == {("Collector failed", part): 1 for part in SOCKETS}
    assert all(result in str(record.exc_info and record.exc_info[1]) for record in caplog.records)
    caplog.clear()
    fix()
    for _ in range(2):
        assert is_whole(host.scrape(), ports)
    assert logs(caplog) == {("Collector recovered", part): 1 for part in SOCKETS}


@pytest.mark.parametrize(
    ("error", "seen_before"),
    [(errno.EPERM, False), (errno.EPERM, True), (errno.EBUSY, False), (errno.ENOBUFS, True)],
    ids=lambda each: each if isinstance(each, bool) else errno.errorcode[each],
)
def test_lasting_netlink_failure(
    host: Host, listeners: list[int], caplog: pytest.LogCaptureFixture, error: int, seen_before: bool
) -> None:
    if seen_before:
        assert is_whole(host.scrape(), listeners)
    host.transport.fault = fails(error)

    def fix() -> None:
        host.transport.fault = lambda _: None

    check_a_lasting_fault(host, listeners, caplog, fix, errno.errorcode[error])


def test_dump_that_stalls_after_some_messages(
    host: Host, listeners: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    host.transport.stalls = True

    def fix() -> None:
        host.transport.stalls = False

    check_a_lasting_fault(host, listeners, caplog, fix, "timed out waiting for a reply")


def test_dump_with_an_error_after_some_messages(
    host: Host, listeners: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    host.transport.half = fails(errno.EIO)

    def fix() -> None:
        host.transport.half = None

    check_a_lasting_fault(host, listeners, caplog, fix, "EIO")


@pytest.mark.parametrize("error", [errno.EBUSY, errno.EINTR, errno.ENOBUFS], ids=errno.errorcode.__getitem__)
@pytest.mark.parametrize("half_way", [False, True])
def test_transient_netlink_error_is_retried_silently(
    host: Host, listeners: list[int], caplog: pytest.LogCaptureFixture, error: int, half_way: bool
) -> None:
    """Nothing is counted twice, even after a partial response."""
    for _ in range(2):
        if half_way:
            host.transport.half = fails(error, times=2)
        else:
            host.transport.fault = fails(error, times=2)
        assert is_whole(host.scrape(), listeners)
        host.transport.half = None
    assert caplog.records == []


def test_permanent_netlink_error_is_not_retried(host: Host) -> None:
    host.transport.fault = fails(errno.EPERM)
    host.scrape()
    # All sockets, listeners, and those in CLOSE_WAIT.
    assert host.transport.asked == 3
