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
    return Kernel(
        {cookie: half(tcp_info(9000, 1000 * cookie, sent=8000), cookie=cookie) for cookie in (1, 2, 3)}
    )


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
    assert heard.with_tcp_info(dumped(2), MANY) == [
        CloseWaitSocket(expected, 1, 0, 0, 2.0, 9.0, 8.0, mptcp=False)
    ]


def test_each_socket_is_queried_once(heard: TcpInfoCache, kernel: Kernel, clock: Clock) -> None:
    assert ages(heard.with_tcp_info(dumped(1, 2), MANY)) == [(1.0, 9.0), (2.0, 9.0)]
    clock.now += 4
    kernel.known.clear()
    assert ages(heard.with_tcp_info(dumped(2, 1), MANY)) == [(6.0, 13.0), (5.0, 13.0)]
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


def since_sent(sockets: list[CloseWaitSocket]) -> list[float | None]:
    return [sock.seconds_since_sent for sock in sockets]


def silent_for(seconds: int, *cookies: int) -> dict[int, bytes]:
    """Return the kernel's replies for connections that sent data this many seconds ago."""
    return {cookie: half(tcp_info(9000, 1000, sent=1000 * seconds), cookie=cookie) for cookie in cookies}


class TestLastSend:
    def test_later_send_is_seen_and_the_other_times_stay(
        self, heard: TcpInfoCache, kernel: Kernel, clock: Clock
    ) -> None:
        assert since_sent(heard.with_tcp_info(dumped(1), MANY)) == [8.0]
        clock.now += 5
        kernel.known[1] = half(tcp_info(14_000, 400, sent=500), cookie=1)
        (sock,) = heard.with_tcp_info(dumped(1), MANY)
        assert sock[4:7] == (6.0, 14.0, 0.5)

    def test_interval_doubles_until_the_connection_sends(
        self, heard: TcpInfoCache, kernel: Kernel, clock: Clock
    ) -> None:
        """Seconds of the collections with a query, when data is sent at second 85 and never again."""
        start, queried = clock.now, []
        for second in range(300):
            clock.now = start + second
            sent = second + 8 if second < 85 else second - 85
            kernel.known[1] = half(tcp_info(9000, 1000, sent=1000 * sent), cookie=1)
            kernel.asked.clear()
            heard.with_tcp_info(dumped(1), MANY)
            queried += [second] if kernel.asked else []
        assert queried == [0, 5, 15, 35, 75, 155, 160, 170, 190, 230]

    def test_number_of_queries_in_a_collection_is_limited(
        self, heard: TcpInfoCache, kernel: Kernel, clock: Clock
    ) -> None:
        cookies = range(1, 401)
        kernel.known = silent_for(8, *cookies)
        heard.with_tcp_info(dumped(*cookies), 0)
        assert (kernel.asked, kernel.dumps) == ([], 1)
        counts = []
        for seconds in (5, 10, 15, 20):
            clock.now += 5
            kernel.known = silent_for(8 + seconds, *cookies)
            kernel.asked.clear()
            heard.with_tcp_info(dumped(*cookies), 0)
            counts.append(len(kernel.asked))
        assert counts == [32, 32, 32, 32]

    def test_limit_grows_with_the_connections_that_send(
        self, heard: TcpInfoCache, kernel: Kernel, clock: Clock
    ) -> None:
        cookies = range(1, 1001)
        kernel.known = silent_for(8, *cookies)
        heard.with_tcp_info(dumped(*cookies), 0)
        kernel.known = silent_for(0, *cookies)
        latest: list[float] = []
        for _ in range(40):
            clock.now += 15
            latest.append(max(filter(None, since_sent(heard.with_tcp_info(dumped(*cookies), 0)))))
        assert max(latest[15:]) < 90

    def test_connections_wait_equally_long_for_a_query(
        self, heard: TcpInfoCache, kernel: Kernel, clock: Clock
    ) -> None:
        cookies = range(1, 121)
        kernel.known = silent_for(8, *cookies)
        heard.with_tcp_info(dumped(*cookies), 0)
        for seconds in (5, 10, 15, 20):
            clock.now += 5
            kernel.known = silent_for(8 + seconds, *cookies)
            heard.with_tcp_info(dumped(*cookies), 0)
        assert set(kernel.asked) == set(cookies)

    @pytest.mark.parametrize(
        "answer",
        [refusal(errno.ENOENT), half(None, cookie=1), half(tcp_info(1, 1), cookie=1, state=LAST_ACK)],
    )
    def test_last_known_time_is_kept_without_an_answer(
        self, heard: TcpInfoCache, kernel: Kernel, clock: Clock, answer: bytes
    ) -> None:
        heard.with_tcp_info(dumped(1), MANY)
        clock.now += 5
        kernel.known[1] = answer
        assert since_sent(heard.with_tcp_info(dumped(1), MANY)) == [13.0]

    def test_failed_query_is_repeated(self, heard: TcpInfoCache, kernel: Kernel, clock: Clock) -> None:
        heard.with_tcp_info(dumped(1), MANY)
        clock.now += 5
        answer, kernel.known[1] = kernel.known[1], refusal(errno.EPERM)
        with pytest.raises(NetlinkError, match="EPERM"):
            heard.with_tcp_info(dumped(1), MANY)
        clock.now += 10
        kernel.known[1] = answer
        assert since_sent(heard.with_tcp_info(dumped(1), MANY)) == [8.0]

    def test_vanished_connections_are_not_queried(
        self, heard: TcpInfoCache, kernel: Kernel, clock: Clock
    ) -> None:
        for cookie in range(1, 100):
            kernel.known[cookie] = half(tcp_info(9000, 1000, sent=8000), cookie=cookie)
            heard.with_tcp_info(dumped(cookie), MANY)
        kernel.asked.clear()
        clock.now += 5
        heard.with_tcp_info(dumped(99), MANY)
        assert kernel.asked == [99]

    def test_vanished_connections_are_at_most_as_many_as_the_others(
        self, heard: TcpInfoCache, kernel: Kernel, clock: Clock
    ) -> None:
        """Connections come and go, and then most of them go together."""
        for start in [*range(0, 300, 5), 1000, 1001]:
            cookies = range(start, start + (20 if start < 1000 else 3))
            kernel.known = silent_for(8, *cookies)
            heard.with_tcp_info(dumped(*cookies), MANY)
            clock.now += 1
            # Nothing public tells how much memory they take.
            assert len(cookies) <= len(heard._sent) <= 2 * len(cookies)  # noqa: SLF001
            assert len(heard._rechecks) <= 2 * len(cookies)  # noqa: SLF001

    def test_times_of_the_others_survive_dropping_vanished_ones(
        self, heard: TcpInfoCache, kernel: Kernel, clock: Clock
    ) -> None:
        kernel.known = silent_for(8, *range(100))
        heard.with_tcp_info(dumped(*range(100)), MANY)
        kernel.asked.clear()
        for _ in range(4):
            clock.now += 1
            remaining = heard.with_tcp_info(dumped(7, 8), MANY)
        assert (since_sent(remaining), kernel.asked) == ([12.0, 12.0], [])
        clock.now += 1
        heard.with_tcp_info(dumped(7, 8), MANY)
        assert sorted(kernel.asked) == [7, 8]
