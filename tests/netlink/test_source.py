"""Requests to the kernel, how often they are sent, and refusals."""

from __future__ import annotations

import errno
import sys
from collections.abc import Iterator
from typing import Final

import pytest

from exporter.model.sockets import CLOSE, CLOSE_WAIT, ESTABLISHED, LISTEN, SYN_RECV, TIME_WAIT, Socket
from exporter.netlink import source
from exporter.netlink.source import NetlinkSource
from exporter.netlink.transport import NetlinkError, SockDiagClient

from .kernels import NO_FAMILY, UNKNOWN_FAMILY, Canned, Refusing, everything
from .messages import LOOPBACK, SHORTEST, done, row, rows_of

linux = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")

# include/net/tcp_states.h
LISTENING: Final = 1 << 10
SMALL: Final = 1 << 6 | 1 << 3
CONNECTED: Final = 0xFFE & ~LISTENING
FULL: Final = CONNECTED & ~SMALL
BOUND: Final = 1 << 13
INFO_OF_CLOSE_WAIT: Final = 1 << 8


class Failing(SockDiagClient):
    """A kernel that replies to every request with this error."""

    def __init__(self, error: int) -> None:
        super().__init__()
        self._error = error

    def dump(self, request: bytes, **_: bool) -> Iterator[bytes]:  # noqa: ARG002  # part of the interface
        yield done(-self._error)


class TestProbe:
    @linux
    @pytest.mark.parametrize("instead", [UNKNOWN_FAMILY, NO_FAMILY], ids=["EINVAL", "ENOENT"])
    def test_unsupported_compat_request_is_not_repeated(self, instead: bytes) -> None:
        transport = Refusing(instead)
        source = NetlinkSource(transport)
        source.probe()
        list(source.full_sockets())
        source.listeners()
        source.probe()
        assert transport.older == 1

    @linux
    def test_raises_if_both_requests_are_refused(self) -> None:
        class RefusingAll(Refusing):
            def dump(self, request: bytes, **_: bool) -> Iterator[bytes]:
                list(super().dump(request)) if self.older else None
                return SockDiagClient.dump(self, UNKNOWN_FAMILY)

        with pytest.raises(NetlinkError, match="EINVAL"):
            NetlinkSource(RefusingAll()).probe()

    @pytest.mark.parametrize("error", [errno.EPERM, errno.ENOMEM])
    def test_raises_permanent_errors(self, error: int) -> None:
        transport = Canned({LISTENING: [done(-error)]})
        with pytest.raises(NetlinkError) as raised:
            NetlinkSource(transport).probe()
        assert raised.value.errno == error
        assert transport.asked == [LISTENING]


@pytest.mark.parametrize("states", [FULL | BOUND, SMALL])
def test_failure_half_way_through_a_dump_raises(states: int) -> None:
    answer = [row(ESTABLISHED, 1), row(ESTABLISHED, 2) + done(-errno.EIO)]
    source = NetlinkSource(Canned({states: answer}))
    with pytest.raises(NetlinkError, match="EIO"):
        list(everything(source))


class Host:
    """A kernel with these sockets, which it gives for whatever dump they are in."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.kernel = Canned({})
        self.source = NetlinkSource(self.kernel, clock=lambda: self.now)

    def has(self, *, full: bytes = b"", small: bytes = b"", bound: bytes = b"") -> None:
        self.kernel.answers = {
            FULL: [full + done()],
            SMALL: [small + done()],
            FULL | BOUND: [full + bound + done()],
            CONNECTED | BOUND: [full + small + bound + done()],
        }

    def cookies(self) -> list[int]:
        return sorted(one.cookie for one in rows_of(everything(self.source)))

    def asked(self) -> list[int]:
        asked, self.kernel.asked = self.kernel.asked, []
        return asked


@pytest.fixture
def host() -> Host:
    host = Host()
    host.has(full=row(ESTABLISHED, 1), small=row(TIME_WAIT, 2, size=96), bound=row(CLOSE, 5))
    return host


@pytest.fixture
def crowded(host: Host, monkeypatch: pytest.MonkeyPatch) -> Host:
    """Return a host with more sockets than fit into a single dump."""
    monkeypatch.setattr(source, "SINGLE_DUMP_MAX_SOCKETS", 1)
    return host


class TestDumps:
    def test_single_dump_after_a_dump_of_few_sockets(self, host: Host) -> None:
        assert [host.cookies() for _ in range(3)] == [[1, 2, 5]] * 3
        assert host.asked() == [FULL | BOUND, SMALL, *[CONNECTED | BOUND] * 2]

    @pytest.mark.parametrize(("count", "dumps"), [(10_000, [CONNECTED | BOUND]), (10_001, [FULL, SMALL])])
    def test_single_dump_up_to_10_000_sockets(self, host: Host, count: int, dumps: list[int]) -> None:
        host.has(
            full=b"".join(row(ESTABLISHED, cookie) for cookie in range(1, count)), small=row(TIME_WAIT, count)
        )
        for _ in range(2):
            assert len(host.cookies()) == count
        assert host.asked()[2:] == dumps

    def test_two_dumps_for_many_sockets(self, crowded: Host) -> None:
        assert [crowded.cookies() for _ in range(2)] == [[1, 2, 5]] * 2
        assert crowded.asked() == [FULL | BOUND, SMALL, FULL, SMALL]


class TestMinisocks:
    def test_dump_starts_before_the_first_one_ends(self, crowded: Host) -> None:
        held = b"".join(row(ESTABLISHED, cookie) for cookie in range(10, 30))
        crowded.has(full=held + row(CLOSE_WAIT, 30), small=row(TIME_WAIT, 2, size=96))
        crowded.cookies()
        sockets = crowded.source.full_sockets()
        assert next(sockets).keyspace.state == ESTABLISHED
        assert crowded.source.pending_states == {TIME_WAIT, SYN_RECV}
        list(sockets)
        assert [one.cookie for one in rows_of(crowded.source.minisocks())] == [2]

    def test_are_part_of_a_single_dump(self, host: Host) -> None:
        for _ in range(2):
            host.cookies()
        list(host.source.full_sockets())
        assert host.source.pending_states == frozenset()
        assert list(host.source.minisocks()) == []

    @linux
    def test_dump_is_repeated_after_a_failure(self, crowded: Host) -> None:
        crowded.kernel.answers[SMALL] = [done(-errno.ENOBUFS)]
        list(crowded.source.full_sockets())
        with pytest.raises(NetlinkError, match="ENOBUFS"):
            list(crowded.source.minisocks())
        crowded.has(small=row(TIME_WAIT, 7, size=96))
        assert [one.cookie for one in rows_of(crowded.source.minisocks())] == [7]


class TestBoundOnlySockets:
    """Dumping the table of bound sockets is expensive if there are many others."""

    def test_are_cached_for_60_seconds(self, crowded: Host) -> None:
        assert crowded.cookies() == [1, 2, 5]
        crowded.has(full=row(ESTABLISHED, 1), small=row(TIME_WAIT, 2), bound=row(CLOSE, 6))
        crowded.now += 59.999
        assert crowded.cookies() == [1, 2, 5]
        crowded.now += 0.001
        assert crowded.cookies() == [1, 2, 6]
        assert crowded.asked().count(FULL | BOUND) == 2

    def test_cached_sockets_equal_the_dumped_ones(self, crowded: Host) -> None:
        bound = row(CLOSE, 5, 4711, local=(LOOPBACK, 8080), remote=(bytes(4), 0), size=140)
        crowded.has(full=row(ESTABLISHED, 1) + row(ESTABLISHED, 3), bound=bound)
        first, second = (
            [one for one in rows_of(everything(crowded.source)) if one.state == CLOSE] for _ in range(2)
        )
        assert first == second == [Socket(CLOSE, LOOPBACK, 8080, bytes(4), 0, 4711, 5)]

    def test_are_dumped_again_after_a_failure(self, crowded: Host) -> None:
        crowded.kernel.answers[SMALL] = [done(-errno.EIO)]
        with pytest.raises(NetlinkError):
            crowded.cookies()
        crowded.has(full=row(ESTABLISHED, 1), small=row(TIME_WAIT, 2), bound=row(CLOSE, 7))
        assert crowded.cookies() == [1, 2, 7]

    def test_are_current_if_the_last_dump_has_read_them(self, crowded: Host) -> None:
        current = []
        for _ in range(3):
            crowded.cookies()
            current.append(crowded.source.has_current_bound_only)
            crowded.now += 59.0
        assert current == [True, False, True]

    def test_owner_keys_are_those_of_the_last_dump(self, crowded: Host) -> None:
        crowded.has(full=row(ESTABLISHED, 1, 4710), bound=row(CLOSE, 5, 4711))
        assert crowded.source.bound_only_owner_keys() == []
        for _ in range(2):
            crowded.cookies()
            assert crowded.source.bound_only_owner_keys() == [4711]


class TestOwnerKeys:
    def test_are_read_in_a_dump_of_their_own(self, host: Host) -> None:
        host.has(full=row(ESTABLISHED, 1, 4710), bound=row(CLOSE, 5, 4711))
        host.kernel.answers[LISTENING] = [row(LISTEN, 9, 4712) + done()]
        host.cookies()
        host.asked()
        assert host.source.owner_keys() == {4710, 4711, 4712}
        assert host.asked() == [FULL | BOUND, LISTENING]

    def test_failure_raises(self, host: Host) -> None:
        host.kernel.answers[FULL | BOUND] = [done(-errno.EIO)]
        with pytest.raises(NetlinkError, match="EIO"):
            host.source.owner_keys()

    @pytest.mark.parametrize("error", [errno.ENOENT, errno.EINVAL])
    def test_mptcp_is_unavailable_if_the_kernel_does_not_know_it(self, error: int) -> None:
        assert NetlinkSource(Failing(error)).mptcp_owner_keys() is None

    def test_mptcp_failure_raises(self) -> None:
        with pytest.raises(NetlinkError, match="EIO"):
            NetlinkSource(Failing(errno.EIO)).mptcp_owner_keys()


@linux
class TestCloseWait:
    def test_comes_from_the_dump_of_all_sockets(self, host: Host) -> None:
        host.has(full=row(CLOSE_WAIT, 8, queues=(3, 0)) + row(ESTABLISHED, 9))
        host.cookies()
        host.kernel.answers[INFO_OF_CLOSE_WAIT] = [done()]
        assert [(one.socket.cookie, one.receive_queue_bytes) for one in host.source.close_wait_sockets()] == [
            (8, 3)
        ]

    def test_is_dumped_separately_after_a_failure(self, host: Host) -> None:
        host.has(full=row(CLOSE_WAIT, 8))
        host.cookies()
        host.kernel.answers[CONNECTED | BOUND] = [row(CLOSE_WAIT, 8) + done(-errno.EIO)]
        with pytest.raises(NetlinkError):
            host.cookies()
        host.kernel.answers[INFO_OF_CLOSE_WAIT] = [row(CLOSE_WAIT, 10, size=SHORTEST) + done()]
        assert [one.socket.cookie for one in host.source.close_wait_sockets()] == [10]
