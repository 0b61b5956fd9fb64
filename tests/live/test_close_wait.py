"""Real sockets in CLOSE_WAIT: the cause is known immediately, and the age to a second."""

from __future__ import annotations

import errno
import json
import struct
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

import pytest

from exporter.model.close_wait import Cause
from exporter.model.sockets import CloseWaitSocket
from exporter.netlink.close_wait_dump import CloseWaitReader
from exporter.netlink.transport import TCPDIAG_GETSOCK, NetlinkError, SockDiagClient
from exporter.tracking.close_wait_tracker import AgeTracker, cause_of

from . import close_wait_cases
from .close_wait_cases import CASES, CONNECTIONS, HOSTS, IDLE, LATE, Leak
from .conftest import open_namespace
from .helpers import ss_rows
from .namespace import Namespace

pytestmark = pytest.mark.live

LAST_DUMP_AFTER: Final = 5.5
"""Seconds from the last connection's shutdown to the last dump. Longer than LATE."""
TICK: Final = 0.02
"""Seconds. The kernel counts in ticks of 10 ms at most, rounded down twice."""

Name = tuple[str, str, str]


class Dump(NamedTuple):
    """The sockets of one dump, which was taken between `started` and `ended`, in monotonic seconds."""

    sockets: list[CloseWaitSocket]
    ended: float
    started: float


class NewerRequestOnly(SockDiagClient):
    """A kernel that does not support the older request."""

    def dump(self, request: bytes, **_: bool) -> Iterator[bytes]:
        if struct.unpack_from("=H", request, 4) == (TCPDIAG_GETSOCK,):
            raise NetlinkError("unsupported", errno.EINVAL)
        return super().dump(request)


def dump(*, newer_only: bool = False) -> Dump:
    source = CloseWaitReader(NewerRequestOnly() if newer_only else None)
    started = time.monotonic()
    return Dump(source.read(), time.monotonic(), started)


class Observed(NamedTuple):
    """The facts about one socket at the last dump; times in seconds."""

    close_wait: CloseWaitSocket
    real_age: float
    """Time since the peer shut the connection down, by the clock, at the end of the dump."""
    min_real_age: float
    """The same at the start of the dump."""
    tracked_age: float
    """Its age according to a tracker that also got a dump soon after the shutdown."""
    restarted_age: float
    """Its age according to a tracker that has just been started."""
    tracked_for: float
    """Time since that first dump."""

    @property
    def cause(self) -> Cause:
        return cause_of(self.close_wait, self.tracked_age)


class Leaks:
    """All connections, dumped twice."""

    def __init__(self, namespace: Namespace) -> None:
        self.namespace = namespace
        program = namespace.popen([sys.executable, "-PS", close_wait_cases.__file__])
        assert program.stdout is not None
        self.connections = [Leak(*leak) for leak in json.loads(program.stdout.readline() or "[]")]
        assert self.connections, "the program failed: see its message on stderr"
        first, tracker = namespace.call(dump), AgeTracker()
        tracker.update(first.sockets, first.ended)
        assert program.stdout.readline() == "sent\n"
        time.sleep(
            max(0.0, max(leak.ended for leak in self.connections) + LAST_DUMP_AFTER - time.monotonic())
        )
        self.last = namespace.call(dump)
        ages = zip(
            tracker.update(self.last.sockets, self.last.ended),
            AgeTracker().update(self.last.sockets, self.last.ended),
            strict=True,
        )
        by_ports = {self.ports(leak): leak for leak in self.connections}
        self.observed: dict[Name, Observed] = {}
        for close_wait, (tracked_age, restarted_age) in zip(self.last.sockets, ages, strict=True):
            leak = by_ports[self.ports_of(close_wait)]
            real_age, min_real_age = self.last.ended - leak.ended, self.last.started - leak.ended
            tracked_for = self.last.ended - first.ended
            self.observed[leak[:3]] = Observed(
                close_wait, real_age, min_real_age, tracked_age, restarted_age, tracked_for
            )

    @staticmethod
    def ports(leak: Leak) -> tuple[str, int, int]:
        return leak.family, leak.local_port, leak.remote_port

    @staticmethod
    def ports_of(close_wait: CloseWaitSocket) -> tuple[str, int, int]:
        _, address, local_port, _, remote_port, *_ = close_wait.socket
        return "ipv4" if len(address) == 4 else "ipv6", local_port, remote_port

    def __getitem__(self, name: Name) -> Observed:
        if name[0] != "tcp" and all(leak.protocol == "tcp" for leak in self.connections):
            pytest.skip("needs a kernel with MPTCP")
        return self.observed[name]


@pytest.fixture(scope="module")
def all_leaks() -> Iterator[Leaks]:
    with open_namespace() as namespace:
        if Path("/proc/sys/net/mptcp/enabled").exists():
            namespace.sysctl("net.mptcp.enabled", 1)
        yield Leaks(namespace)


@pytest.fixture(
    params=[(*connection, family) for connection in CONNECTIONS for family in HOSTS], ids=" ".join
)
def name(request: pytest.FixtureRequest) -> Name:
    param: Name = request.param
    return param


def require_ages(observed: Observed) -> Observed:
    """Skip what older kernels do not report."""
    if observed.close_wait.mptcp and observed.close_wait.seconds_since_ack is None:
        pytest.skip("needs Linux 6.10, which has ages in mptcp_info")
    return observed


def test_every_socket_is_dumped_once(all_leaks: Leaks) -> None:
    assert LATE < LAST_DUMP_AFTER
    expected = Counter(map(all_leaks.ports, all_leaks.connections))
    assert Counter(map(all_leaks.ports_of, all_leaks.last.sockets)) == expected


def test_cause_of_every_case(all_leaks: Leaks, name: Name) -> None:
    assert all_leaks[name].cause == CASES[name[1]].cause


def test_mptcp_sockets_are_marked(all_leaks: Leaks, name: Name) -> None:
    assert all_leaks[name].close_wait.mptcp is (name[0] != "tcp")


def test_tracked_age_is_exact_to_a_second(all_leaks: Leaks, name: Name) -> None:
    observed = all_leaks[name]
    assert observed.real_age >= LAST_DUMP_AFTER
    assert observed.tracked_for <= observed.tracked_age <= observed.real_age + TICK
    assert observed.real_age - observed.tracked_age < 1


def test_age_after_a_restart_is_exact_or_a_lower_bound(all_leaks: Leaks, name: Name) -> None:
    observed = require_ages(all_leaks[name])
    assert observed.restarted_age == pytest.approx(observed.close_wait.seconds_since_ack)
    assert 0 <= observed.restarted_age <= observed.real_age + TICK
    if CASES[name[1]].acknowledged:
        assert observed.real_age - observed.restarted_age > 1, "this case must show a bound that is not close"
    else:
        assert observed.real_age - observed.restarted_age < 1


def test_time_since_data_is_an_upper_bound(all_leaks: Leaks, name: Name) -> None:
    observed = require_ages(all_leaks[name])
    assert observed.close_wait.seconds_since_data is not None
    assert observed.close_wait.seconds_since_data >= observed.min_real_age - TICK
    since_end = 0.0 if CASES[name[1]].message else IDLE
    assert observed.close_wait.seconds_since_data == pytest.approx(observed.real_age + since_end, abs=1)


@pytest.mark.parametrize("family", HOSTS)
def test_own_keepalive_is_visible_in_the_timer(all_leaks: Leaks, family: str) -> None:
    timers = {case: all_leaks["tcp", case, family].close_wait.timer for case in CASES}
    assert timers.pop("own keepalive") == 2
    assert timers.pop("sending") in (1, 4)
    assert timers.pop("sending unread") in (1, 4)
    assert set(timers.values()) == {0}


def test_queues_equal_those_of_ss(all_leaks: Leaks) -> None:
    by_ss: Counter[tuple[object, ...]] = Counter(
        row[1:] for row in ss_rows(all_leaks.namespace, "close_wait")
    )
    tcp = [close_wait for close_wait in all_leaks.last.sockets if not close_wait.mptcp]
    dumped: Counter[tuple[object, ...]] = Counter(
        (*close_wait.socket[1:5], close_wait.receive_queue_bytes, close_wait.send_queue_bytes)
        for close_wait in tcp
    )
    assert len(dumped) == len(CASES) * len(HOSTS)
    assert not dumped - by_ss


def test_dumps_by_family_give_the_same(all_leaks: Leaks) -> None:
    newer = all_leaks.namespace.call(dump, newer_only=True)
    assert {(close_wait.socket, cause_of(close_wait, 0.0)) for close_wait in newer.sockets} == {
        (close_wait.socket, cause_of(close_wait, 0.0)) for close_wait in all_leaks.last.sockets
    }
