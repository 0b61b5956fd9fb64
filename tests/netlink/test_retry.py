"""A request is repeated after a transient error, and only then."""

from __future__ import annotations

import errno
from collections.abc import Iterator

import pytest

from exporter.model.sockets import LISTEN
from exporter.netlink.retry import (
    BACKOFF_SECONDS,
    MAX_RETRY_SECONDS,
    TRANSIENT_ERRNOS,
    retry_transient,
)
from exporter.netlink.source import NetlinkSource
from exporter.netlink.transport import NetlinkError, SockDiagClient

from ..procfs.trees import Clock
from .messages import done, refusal, row


class Busy:
    """Fails `times` times before it answers; each call takes `seconds`."""

    def __init__(self, clock: Clock, error: int | None, times: int, seconds: float = 0.0) -> None:
        self._clock = clock
        self._error = error
        self._times = times
        self._seconds = seconds
        self.asked = 0

    def __call__(self) -> str:
        self.asked += 1
        self._clock.now += self._seconds
        if self.asked <= self._times:
            raise NetlinkError("busy", self._error)
        return "answer"

    def ask(self) -> str:
        return retry_transient(self, self._clock, self._sleep)

    def _sleep(self, seconds: float) -> None:
        self._clock.now += seconds


def by_name(error: int) -> str:
    return errno.errorcode[error]


def test_limits_of_the_retries() -> None:
    assert BACKOFF_SECONDS == (0.02, 0.1, 0.4)
    assert MAX_RETRY_SECONDS == 2.0
    assert {errno.EBUSY, errno.EINTR, errno.ENOBUFS} == TRANSIENT_ERRNOS


@pytest.mark.parametrize("error", [errno.EBUSY, errno.EINTR, errno.ENOBUFS], ids=by_name)
@pytest.mark.parametrize("times", range(4))
def test_a_transient_error_is_retried_up_to_three_times(clock: Clock, error: int, times: int) -> None:
    busy = Busy(clock, error, times)
    assert busy.ask() == "answer"
    assert busy.asked == times + 1


@pytest.mark.parametrize("error", [errno.EBUSY, errno.EINTR, errno.ENOBUFS], ids=by_name)
def test_a_persistent_error_is_raised_within_two_seconds(clock: Clock, error: int) -> None:
    started = clock.now
    with pytest.raises(NetlinkError) as raised:
        Busy(clock, error, 1000).ask()
    assert raised.value.errno == error
    assert clock.now - started <= 2.0


def test_no_attempt_starts_after_two_seconds(clock: Clock) -> None:
    busy = Busy(clock, errno.ENOBUFS, 1000, seconds=2.0)
    with pytest.raises(NetlinkError):
        busy.ask()
    assert busy.asked == 1


@pytest.mark.parametrize("error", [errno.EPERM, errno.EMFILE, errno.ETIMEDOUT, errno.EIO, None])
def test_a_permanent_error_is_raised_immediately(clock: Clock, error: int | None) -> None:
    busy = Busy(clock, error, 1)
    with pytest.raises(NetlinkError):
        busy.ask()
    assert busy.asked == 1


def test_probe_retries_while_the_kernel_is_busy() -> None:
    answers = [refusal(errno.EBUSY), refusal(errno.EINTR), row(LISTEN) + done()]

    class BusyAtFirst(SockDiagClient):
        def dump(self, request: bytes) -> Iterator[bytes]:  # noqa: ARG002  # the same for all
            yield answers.pop(0)

    NetlinkSource(BusyAtFirst()).probe()
    assert answers == []
