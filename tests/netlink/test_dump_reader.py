"""A dump read by a thread: all of it, in its order, however the two of them are."""

from __future__ import annotations

import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest

from exporter.netlink import dump_reader, recvmmsg
from exporter.netlink.dump_reader import DumpReader
from exporter.netlink.recvmmsg import DatagramBuffers

from ..running import until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")

Pair = tuple[socket.socket, socket.socket]

FIRST, USUAL, LONGEST = 50, 120, 200


@pytest.fixture
def pair(monkeypatch: pytest.MonkeyPatch) -> Iterator[Pair]:
    monkeypatch.setattr(dump_reader, "_MAX_DATAGRAM_BYTES", LONGEST)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.settimeout(None)
    with ours, theirs:
        yield ours, theirs


class Dump(threading.Thread):
    """Sends a dump as fast as its datagrams are received; the first one is small."""

    def __init__(self, channel: socket.socket, number: int, pause: float = 0.0) -> None:
        super().__init__(daemon=True)
        self._channel = channel
        sizes = [FIRST, *[USUAL] * (number - 2), 20]
        self.datagrams = [bytes([number % 251]) * size for number, size in enumerate(sizes)]
        self._pause = pause
        self.sent = 0

    def run(self) -> None:
        with suppress(OSError):  # when the reader has gone
            for datagram in self.datagrams:
                time.sleep(self._pause)
                self._channel.send(datagram)
                self.sent += 1

    def fills(self) -> int:
        """Number of messages sent before the channel was full."""
        self.start()
        before = -1
        for _ in until("the channel is full"):
            if self.sent == before:
                return before
            before = self.sent
            time.sleep(0.1)
        raise AssertionError


def threads() -> int:
    return sum(thread.name == "netlink" for thread in threading.enumerate())


def whole(reader: DumpReader, size: int) -> bytes:
    read = b""
    while len(read) < size:
        read += reader.recv()
    return read


@pytest.mark.parametrize("number", [2, 3, 8, 9, 40, 700])
@pytest.mark.parametrize("prefetch", [False, True])
@pytest.mark.parametrize("pause", [0.0, 0.002], ids=["quick", "slow"])
def test_all_datagrams_are_returned_in_order(pair: Pair, number: int, prefetch: bool, pause: float) -> None:
    """Also if the kernel is slower than the reader."""
    ours, theirs = pair
    dump = Dump(theirs, number if not pause else min(number, 40), pause)
    dump.start()
    expected = b"".join(dump.datagrams)
    with DumpReader(ours, prefetch=prefetch) as reader:
        assert whole(reader, len(expected)) == expected
    assert threads() == 0


def test_ctypes_is_not_imported_for_few_datagrams(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise AssertionError

    monkeypatch.setattr("exporter.netlink.recvmmsg.DatagramBuffers", fails)
    ours, theirs = pair
    for datagram in (b"a" * FIRST, b"b" * 20):
        theirs.send(datagram)
    with DumpReader(ours, prefetch=True) as reader:
        assert whole(reader, FIRST + 20)


def test_few_datagrams_start_no_thread(pair: Pair) -> None:
    ours, theirs = pair
    dump = Dump(theirs, 7)
    dump.start()
    with DumpReader(ours) as reader:
        assert whole(reader, len(b"".join(dump.datagrams)))
        assert threads() == 0


def test_prefetch_reads_before_recv_is_called(pair: Pair) -> None:
    ours, theirs = pair
    dump = Dump(theirs, 2_000)
    full = dump.fills()
    with DumpReader(ours, prefetch=True) as reader:
        read = reader.recv()
        for _ in until("more has been sent"):
            if dump.sent > full + 10:
                break
        expected = b"".join(dump.datagrams)
        assert read + whole(reader, len(expected) - len(read)) == expected


@pytest.mark.parametrize("prefetch", [False, True])
def test_thread_ends_with_the_context(pair: Pair, prefetch: bool) -> None:
    ours, theirs = pair
    Dump(theirs, 100_000).start()
    with DumpReader(ours, prefetch=prefetch) as reader:
        for _ in range(20):
            reader.recv()
    assert threads() == 0
    ours.close()


def test_closed_socket_returns_an_empty_datagram(pair: Pair) -> None:
    ours, theirs = pair
    dump = Dump(theirs, 40)
    dump.start()
    dump.join(20)
    theirs.shutdown(socket.SHUT_WR)
    with DumpReader(ours) as reader:
        whole(reader, len(b"".join(dump.datagrams)))
        assert reader.recv() == b""


def failing(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def fails(*_: object) -> None:
        raise error

    monkeypatch.setattr("exporter.netlink.recvmmsg.DatagramBuffers", fails)


@pytest.mark.parametrize("error", [MemoryError(), OSError("refused"), ImportError("no ctypes")], ids=repr)
@pytest.mark.parametrize("prefetch", [False, True])
def test_single_reads_without_ctypes(
    pair: Pair, monkeypatch: pytest.MonkeyPatch, error: Exception, prefetch: bool
) -> None:
    failing(monkeypatch, error)
    ours, theirs = pair
    dump = Dump(theirs, 300)
    dump.start()
    expected = b"".join(dump.datagrams)
    with DumpReader(ours, prefetch=prefetch) as reader:
        assert whole(reader, len(expected)) == expected


@pytest.mark.parametrize("error", [MemoryError(), OSError("no memory")], ids=repr)
def test_single_reads_after_a_memory_error(
    pair: Pair, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    made: list[DatagramBuffers] = []

    def make(*sizes: int) -> DatagramBuffers:
        if made:
            raise error
        made.append(DatagramBuffers(*sizes))
        return made[0]

    monkeypatch.setattr(recvmmsg, "DatagramBuffers", make)
    monkeypatch.setattr(dump_reader, "_BATCH_PREFETCH", 4)
    ours, theirs = pair
    dump = Dump(theirs, 300)
    assert dump.fills() > 20
    expected = b"".join(dump.datagrams)
    with DumpReader(ours, prefetch=True) as reader:
        assert whole(reader, len(expected)) == expected


def test_exceptions_of_the_thread_are_raised_by_recv(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    failing(monkeypatch, RuntimeError("a fault of ours"))
    ours, theirs = pair
    Dump(theirs, 300).start()
    with DumpReader(ours) as reader, pytest.raises(RuntimeError, match="ours"):
        whole(reader, 1 << 30)
