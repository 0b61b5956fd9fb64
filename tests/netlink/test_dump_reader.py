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
    monkeypatch.setattr(dump_reader, "_MAX_DATAGRAM", LONGEST)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.settimeout(None)
    with ours, theirs:
        yield ours, theirs


class Dump(threading.Thread):
    """Sends a dump of so many datagrams, as fast as they are taken; the first is small."""

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
        """How many were sent before the channel was full."""
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
def test_nothing_is_lost(pair: Pair, number: int, prefetch: bool, pause: float) -> None:
    """Also where the other side is slower than the reader."""
    ours, theirs = pair
    dump = Dump(theirs, number if not pause else min(number, 40), pause)
    dump.start()
    expected = b"".join(dump.datagrams)
    with DumpReader(ours, prefetch=prefetch) as reader:
        assert whole(reader, len(expected)) == expected
    assert threads() == 0


def test_where_there_are_few_ctypes_is_not_even_loaded(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise AssertionError

    monkeypatch.setattr("exporter.netlink.recvmmsg.DatagramBuffers", fails)
    ours, theirs = pair
    for datagram in (b"a" * FIRST, b"b" * 20):
        theirs.send(datagram)
    with DumpReader(ours, prefetch=True) as reader:
        assert whole(reader, FIRST + 20)


def test_few_are_read_without_a_thread(pair: Pair) -> None:
    ours, theirs = pair
    dump = Dump(theirs, 7)
    dump.start()
    with DumpReader(ours) as reader:
        assert whole(reader, len(b"".join(dump.datagrams)))
        assert threads() == 0


def test_it_reads_while_nobody_asks_if_told_to(pair: Pair) -> None:
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
def test_it_ends_when_nobody_reads_on(pair: Pair, prefetch: bool) -> None:
    ours, theirs = pair
    Dump(theirs, 100_000).start()
    with DumpReader(ours, prefetch=prefetch) as reader:
        for _ in range(20):
            reader.recv()
    assert threads() == 0
    ours.close()


def test_the_other_sides_end_is_told(pair: Pair) -> None:
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
def test_without_ctypes_they_are_read_one_by_one(
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
def test_where_there_is_no_room_for_more_at_once_the_rest_is_read_one_by_one(
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


def test_whatever_else_goes_wrong_in_the_thread_is_raised_where_it_is_waited_for(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing(monkeypatch, RuntimeError("a fault of ours"))
    ours, theirs = pair
    Dump(theirs, 300).start()
    with DumpReader(ours) as reader, pytest.raises(RuntimeError, match="ours"):
        whole(reader, 1 << 30)
