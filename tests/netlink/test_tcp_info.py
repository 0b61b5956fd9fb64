"""Times of connections in CLOSE_WAIT are queried once, and cached."""

from __future__ import annotations

import errno
import struct
from collections.abc import Iterable, Iterator

import pytest

from exporter.model.sockets import CLOSE_WAIT, LAST_ACK, CloseWaitSocket, Socket
from exporter.netlink import tcp_info as module
from exporter.netlink.inet_diag import InetDiagTable
from exporter.netlink.tcp_info import TcpInfoCache
from exporter.netlink.transport import NetlinkError, SockDiagClient

from ..procfs.trees import Clock
from .close_wait_messages import HERE, V4, half, tcp, tcp_info
from .messages import LOOPBACK, refusal, row

MANY = 1_000_000


class Kernel(SockDiagClient):
    """A kernel with these sockets: cookie -> reply."""

    def __init__(self, known: dict[int, bytes]) -> None:
        super().__init__()
        self.known = known
        self.asked: list[int] = []
        self.dumps = 0

    def get(self, requests: Iterable[bytes]) -> Iterator[bytes]:
        for request in requests:
            size, kind, flags, family, protocol, extensions = struct.unpack_from("=IHH8xBBB", request)
            assert (size, kind, flags, family, protocol, extensions) == (len(request), 20, 1, V4, 6, 2)
            low, high = struct.unpack_from("=II", request, 24 + 40)
            self.asked.append(high << 32 | low)
            yield self.known.get(high << 32 | low, refusal(errno.ENOENT))

    def dump(self) -> list[CloseWaitSocket]:
        self.dumps += 1
        return tcp(*self.known.values())


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def kernel() -> Kernel:
    return Kernel({cookie: half(tcp_info(9000, 1000 * cookie), cookie=cookie) for cookie in (1, 2, 3)})


@pytest.fixture
def heard(kernel: Kernel, clock: Clock) -> TcpInfoCache:
    return TcpInfoCache(kernel, kernel.dump, clock)


def dumped(*cookies: int) -> InetDiagTable:
    """Return sockets in CLOSE_WAIT as from the dump of all sockets."""
    return InetDiagTable(b"".join(row(CLOSE_WAIT, cookie, queues=(1, 0))[16:88] for cookie in cookies))


def ages(sockets: list[CloseWaitSocket]) -> list[tuple[float | None, float | None]]:
    return [(sock.seconds_since_ack, sock.seconds_since_data) for sock in sockets]


def test_queues_timer_and_times_are_combined(heard: TcpInfoCache) -> None:
    expected = Socket(CLOSE_WAIT, *HERE, LOOPBACK, 40_000, 1000, 2)
    assert heard.with_tcp_info(dumped(2), MANY) == [CloseWaitSocket(expected, 1, 0, 0, 2.0, 9.0, mptcp=False)]


def test_each_socket_is_queried_once(heard: TcpInfoCache, kernel: Kernel, clock: Clock) -> None:
    assert ages(heard.with_tcp_info(dumped(1, 2), MANY)) == [(1.0, 9.0), (2.0, 9.0)]
    clock.now += 5
    kernel.known.clear()
    assert ages(heard.with_tcp_info(dumped(2, 1), MANY)) == [(7.0, 14.0), (6.0, 14.0)]
    assert (kernel.asked, kernel.dumps) == ([1, 2], 0)


def test_only_a_new_socket_is_queried(heard: TcpInfoCache, kernel: Kernel) -> None:
    heard.with_tcp_info(dumped(1), MANY)
    heard.with_tcp_info(dumped(1, 3), MANY)
    assert kernel.asked == [1, 3]


def test_many_new_sockets_are_dumped(
    heard: TcpInfoCache, kernel: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_MAX_SINGLE_QUERIES", 2)
    assert ages(heard.with_tcp_info(dumped(1, 2, 3), 100)) == [(1.0, 9.0), (2.0, 9.0), (3.0, 9.0)]
    assert (kernel.asked, kernel.dumps) == ([], 1)


def test_vanished_sockets_are_dropped(heard: TcpInfoCache, kernel: Kernel) -> None:
    heard.with_tcp_info(dumped(1, 2), MANY)
    assert heard.with_tcp_info(dumped(), MANY) == []
    heard.with_tcp_info(dumped(1), MANY)
    assert kernel.asked == [1, 2, 1]


@pytest.mark.parametrize(
    "answer",
    [refusal(errno.ENOENT), refusal(errno.ESTALE), half(tcp_info(1, 1), cookie=2, state=LAST_ACK)],
    ids=["ENOENT", "ESTALE", "LAST_ACK"],
)
def test_vanished_socket_is_returned_without_times(
    heard: TcpInfoCache, kernel: Kernel, answer: bytes
) -> None:
    kernel.known[2] = answer
    assert ages(heard.with_tcp_info(dumped(1, 2, 3), MANY)) == [(1.0, 9.0), (None, None), (3.0, 9.0)]


def test_socket_without_times_is_queried_once(heard: TcpInfoCache, kernel: Kernel) -> None:
    kernel.known[1] = half(None, cookie=1)
    for _ in range(2):
        assert ages(heard.with_tcp_info(dumped(1), MANY)) == [(None, None)]
    assert kernel.asked == [1]


def test_other_errors_are_raised_and_the_cache_stays(heard: TcpInfoCache, kernel: Kernel) -> None:
    heard.with_tcp_info(dumped(1), MANY)
    kernel.known[2] = refusal(errno.EPERM)
    with pytest.raises(NetlinkError, match="EPERM"):
        heard.with_tcp_info(dumped(1, 2), MANY)
    kernel.asked.clear()
    kernel.known[2] = half(tcp_info(9000, 2000), cookie=2)
    assert ages(heard.with_tcp_info(dumped(1, 2), MANY)) == [(1.0, 9.0), (2.0, 9.0)]
    assert kernel.asked == [2]


def test_cookies_have_64_bits(heard: TcpInfoCache, kernel: Kernel) -> None:
    cookie = 2**63 + 9
    kernel.known[cookie] = half(tcp_info(9000, 4000), cookie=cookie)
    assert ages(heard.with_tcp_info(dumped(cookie), MANY)) == [(4.0, 9.0)]
    assert kernel.asked == [cookie]
