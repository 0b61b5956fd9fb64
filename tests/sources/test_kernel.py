"""What is asked of the kernel, how often, and what happens when it refuses."""

from __future__ import annotations

import errno
import sys
from collections.abc import Iterator
from typing import Final

import pytest

from exporter.model import CLOSE, ESTABLISHED
from exporter.sources.kernel import BOUND_EVERY, KernelSource
from exporter.sources.netlink import NetlinkError, Transport

from .kernels import NO_FAMILY, UNKNOWN_FAMILY, Canned, Refusing
from .messages import done, row, rows_of

linux = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")

# include/net/tcp_states.h
MASK_OF_BOUND: Final = 1 << 13
MASK_OF_LISTEN: Final = 1 << 10
MASK_OF_CONNECTED: Final = 0xFFE & ~MASK_OF_LISTEN


class TestProbe:
    @linux
    @pytest.mark.parametrize("instead", [UNKNOWN_FAMILY, NO_FAMILY], ids=["EINVAL", "ENOENT"])
    def test_falls_back_once_and_for_all_where_the_older_request_is_not_known(self, instead: bytes) -> None:
        transport = Refusing(instead)
        source = KernelSource(transport)
        source.probe()
        list(source.sockets())
        source.listeners()
        source.probe()
        assert transport.older == 1

    @linux
    def test_does_not_hide_that_both_requests_are_refused(self) -> None:
        class RefusingAll(Refusing):
            def exchange(self, request: bytes) -> Iterator[bytes]:
                list(super().exchange(request)) if self.older else None
                return Transport.exchange(self, UNKNOWN_FAMILY)

        with pytest.raises(NetlinkError, match="EINVAL"):
            KernelSource(RefusingAll()).probe()

    @pytest.mark.parametrize("error", [errno.EPERM, errno.ENOMEM])
    def test_raises_what_no_other_request_would_mend(self, error: int) -> None:
        transport = Canned({MASK_OF_LISTEN: [done(-error)]})
        with pytest.raises(NetlinkError) as raised:
            KernelSource(transport).probe()
        assert raised.value.errno == error
        assert transport.asked == [MASK_OF_LISTEN]


def test_a_dump_that_fails_half_way_gives_what_came_before_and_then_raises() -> None:
    answer = [row(ESTABLISHED, 1), row(ESTABLISHED, 2) + done(-errno.EIO)]
    source = KernelSource(Canned({MASK_OF_CONNECTED: answer}))
    sockets = source.sockets()
    assert [one.cookie for one in rows_of([next(sockets)])] == [1]
    with pytest.raises(NetlinkError, match="EIO"):
        next(sockets)


class TestBoundSockets:
    """The table of bound sockets can be dear to look through."""

    def setup_method(self) -> None:
        self.now = 1000.0
        self.seconds = 0.0
        outer = self

        class Slow(Canned):
            def exchange(self, request: bytes) -> Iterator[bytes]:
                outer.now += outer.seconds
                return super().exchange(request)

        self.kernel = Slow({MASK_OF_BOUND: [row(CLOSE, 5) + done()]})
        self.source = KernelSource(self.kernel, clock=lambda: self.now)

    def looks(self) -> int:
        return self.kernel.asked.count(MASK_OF_BOUND)

    def cookies(self) -> list[int]:
        return [one.cookie for one in rows_of(self.source.sockets())]

    def test_are_looked_for_each_time_where_that_is_cheap(self) -> None:
        assert [self.cookies() for _ in range(3)] == [[5]] * 3
        assert self.looks() == 3

    def test_are_remembered_for_a_minute_where_that_is_dear(self) -> None:
        self.seconds = 0.04
        assert self.cookies() == [5]
        self.kernel.answers[MASK_OF_BOUND] = [row(CLOSE, 6) + done()]
        self.seconds = 0.0
        self.now += BOUND_EVERY - 0.001
        assert self.cookies() == [5]
        assert self.looks() == 1
        self.now += 0.001
        assert self.cookies() == [6]
        assert self.cookies() == [6]
        assert self.looks() == 3

    def test_are_looked_for_again_at_once_when_the_look_failed(self) -> None:
        self.seconds = 0.04
        self.kernel.answers[MASK_OF_BOUND] = [done(-errno.EIO)]
        with pytest.raises(NetlinkError):
            self.cookies()
        self.kernel.answers[MASK_OF_BOUND] = [row(CLOSE, 7) + done()]
        assert self.cookies() == [7]
