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
def test_all_that_are_there_are_received_in_their_order(pair: Pair, sizes: tuple[int, ...]) -> None:
    ours, theirs = pair
    for _ in range(2):
        expected = sent(theirs, *sizes)
        room = DatagramBuffers(16, USUAL, LONGEST)
        assert b"".join(room.receive(ours)) == b"".join(expected)


def test_the_last_one_is_for_itself_where_it_is_shorter(pair: Pair) -> None:
    """It may be the end of the dump, behind which the sizes of messages say nothing."""
    ours, theirs = pair
    first, second, end = sent(theirs, USUAL, USUAL, 20)
    assert list(DatagramBuffers(16, USUAL, LONGEST).receive(ours)) == [first + second, end]


def test_no_more_are_received_than_there_is_room_for(pair: Pair) -> None:
    ours, theirs = pair
    expected = sent(theirs, *[USUAL] * 5)
    room = DatagramBuffers(2, USUAL, LONGEST)
    received = [b"".join(room.receive(ours)) for _ in range(3)]
    assert list(map(len, received)) == [200, 200, 100]
    assert b"".join(received) == b"".join(expected)


def test_many_come_in_pieces(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recvmmsg, "_COPY_CHUNK", 2)
    ours, theirs = pair
    expected = sent(theirs, *[USUAL] * 4, 50, USUAL)
    received = list(DatagramBuffers(16, USUAL, LONGEST).receive(ours))
    assert list(map(len, received)) == [200, 200, 150]
    assert b"".join(received) == b"".join(expected)


def test_where_none_is_there_it_does_not_wait(pair: Pair) -> None:
    with pytest.raises(BlockingIOError):
        DatagramBuffers(16, USUAL, LONGEST).receive(pair[0])


def test_one_that_is_too_long_is_an_error_and_not_cut_off(pair: Pair) -> None:
    ours, theirs = pair
    sent(theirs, USUAL, LONGEST + 1)
    with pytest.raises(OSError, match="exceeds the maximum size") as raised:
        DatagramBuffers(16, USUAL, LONGEST).receive(ours)
    assert raised.value.errno == errno.EMSGSIZE


def test_an_end_is_an_empty_one(pair: Pair) -> None:
    ours, theirs = pair
    theirs.shutdown(socket.SHUT_WR)
    assert b"".join(DatagramBuffers(16, USUAL, LONGEST).receive(ours)) == b""


def test_an_error_is_told_by_its_number(pair: Pair) -> None:
    ours, _ = pair
    room = DatagramBuffers(16, USUAL, LONGEST)
    ours.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        room.receive(ours)
