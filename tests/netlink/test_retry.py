"""A kernel that is busy for a moment is asked again; one that refuses is not."""

from __future__ import annotations

import errno
from collections.abc import Iterator

import pytest

from exporter.model.sockets import LISTEN
from exporter.netlink.retry import PAUSES, WITHIN, while_busy
from exporter.netlink.source import KernelSource
from exporter.netlink.transport import NetlinkError, Transport

from ..procfs.trees import Clock
from .messages import done, refusal, row


class Busy:
    """Fails so many times before it answers, which takes so many seconds each time."""

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
        return while_busy(self, self._clock, self._sleep)

    def _sleep(self, seconds: float) -> None:
        self._clock.now += seconds


def by_name(error: int) -> str:
    return errno.errorcode[error]


@pytest.mark.parametrize("error", [errno.EBUSY, errno.EINTR, errno.ENOBUFS], ids=by_name)
@pytest.mark.parametrize("times", range(len(PAUSES) + 1))
def test_what_passes_is_waited_for(clock: Clock, error: int, times: int) -> None:
    busy = Busy(clock, error, times)
    assert busy.ask() == "answer"
    assert busy.asked == times + 1


@pytest.mark.parametrize("error", [errno.EBUSY, errno.EINTR, errno.ENOBUFS], ids=by_name)
def test_what_lasts_is_raised_in_time(clock: Clock, error: int) -> None:
    started = clock.now
    with pytest.raises(NetlinkError) as raised:
        Busy(clock, error, 1000).ask()
    assert raised.value.errno == error
    assert clock.now - started <= WITHIN


def test_a_long_answer_is_not_begun_again_and_again(clock: Clock) -> None:
    busy = Busy(clock, errno.ENOBUFS, 1000, seconds=WITHIN)
    with pytest.raises(NetlinkError):
        busy.ask()
    assert busy.asked == 1


@pytest.mark.parametrize("error", [errno.EPERM, errno.EMFILE, errno.ETIMEDOUT, errno.EIO, None])
def test_what_waiting_would_not_mend_is_raised_at_once(clock: Clock, error: int | None) -> None:
    busy = Busy(clock, error, 1)
    with pytest.raises(NetlinkError):
        busy.ask()
    assert busy.asked == 1


def test_a_kernel_that_is_busy_at_the_start_is_not_taken_for_one_that_refuses() -> None:
    answers = [refusal(errno.EBUSY), refusal(errno.EINTR), row(LISTEN) + done()]

    class BusyAtFirst(Transport):
        def exchange(self, request: bytes) -> Iterator[bytes]:  # noqa: ARG002  # the same for all
            yield answers.pop(0)

    KernelSource(BusyAtFirst()).probe()
    assert answers == []
