"""Many datagrams by one system call: each of them whole, in their order."""

from __future__ import annotations

import errno
import socket
import sys
from collections.abc import Iterator

import pytest

if sys.platform != "linux":
    pytest.skip("needs Linux", allow_module_level=True)

from exporter.netlink import recvmmsg
from exporter.netlink.recvmmsg import DatagramBuffers

USUAL, LONGEST = 100, 150
Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def pair() -> Iterator[Pair]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        yield ours, theirs


def sent(theirs: socket.socket, *sizes: int) -> list[bytes]:
    """Datagrams of these sizes, each of another letter."""
    all_of_them = [bytes([65 + number % 26]) * size for number, size in enumerate(sizes)]
    for one in all_of_them:
        theirs.send(one)
    return all_of_them


@pytest.mark.parametrize(
    "sizes",
    [(100,), (100, 100, 100), (100, 100, 30), (30,), (100, 150, 100), (20, 150, 100, 7), (99, 101) * 5],
    ids=str,
)
def test_available_datagrams_are_received_in_order(pair: Pair, sizes: tuple[int, ...]) -> None:
    ours, theirs = pair
    for _ in range(2):
        expected = sent(theirs, *sizes)
        room = DatagramBuffers(16, USUAL, LONGEST)
        assert b"".join(room.receive(ours)) == b"".join(expected)


def test_shorter_last_datagram_is_separate(pair: Pair) -> None:
    """It may be the end of the dump, behind which the sizes of messages say nothing."""
    ours, theirs = pair
    first, second, end = sent(theirs, USUAL, USUAL, 20)
    assert list(DatagramBuffers(16, USUAL, LONGEST).receive(ours)) == [first + second, end]


def test_no_more_datagrams_than_buffers(pair: Pair) -> None:
    ours, theirs = pair
    expected = sent(theirs, *[USUAL] * 5)
    room = DatagramBuffers(2, USUAL, LONGEST)
    received = [b"".join(room.receive(ours)) for _ in range(3)]
    assert list(map(len, received)) == [200, 200, 100]
    assert b"".join(received) == b"".join(expected)


def test_many_datagrams_come_in_pieces(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recvmmsg, "_COPY_CHUNK", 2)
    ours, theirs = pair
    expected = sent(theirs, *[USUAL] * 4, 50, USUAL)
    received = list(DatagramBuffers(16, USUAL, LONGEST).receive(ours))
    assert list(map(len, received)) == [200, 200, 150]
    assert b"".join(received) == b"".join(expected)


def test_raises_immediately_without_datagrams(pair: Pair) -> None:
    with pytest.raises(BlockingIOError):
        DatagramBuffers(16, USUAL, LONGEST).receive(pair[0])


def test_too_long_datagram_raises(pair: Pair) -> None:
    ours, theirs = pair
    sent(theirs, USUAL, LONGEST + 1)
    with pytest.raises(OSError, match="exceeds the maximum size") as raised:
        DatagramBuffers(16, USUAL, LONGEST).receive(ours)
    assert raised.value.errno == errno.EMSGSIZE


def test_closed_socket_returns_an_empty_datagram(pair: Pair) -> None:
    ours, theirs = pair
    theirs.shutdown(socket.SHUT_WR)
    assert b"".join(DatagramBuffers(16, USUAL, LONGEST).receive(ours)) == b""


def test_error_has_its_errno(pair: Pair) -> None:
    ours, _ = pair
    room = DatagramBuffers(16, USUAL, LONGEST)
    ours.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        room.receive(ours)
