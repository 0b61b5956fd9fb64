"""Real sockets in CLOSE_WAIT: why they stand there is seen at once, and for how long to a second."""

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

from exporter.model.sockets import CloseWaitSocket
from exporter.netlink.close_wait_dump import CloseWaitSource
from exporter.netlink.transport import TCPDIAG_GETSOCK, NetlinkError, SockDiagClient
from exporter.tracking.close_wait_tracker import AgeTracker, cause_of

from . import leaks
from .conftest import open_namespace
from .helpers import listed
from .leaks import CASES, HOSTS, IDLE, LATE, MADE, Leak
from .namespace import Namespace

pytestmark = pytest.mark.live

LASTS: Final = 5.5
"""Seconds after the last connection's end until the last look. Longer than LATE."""
TICK: Final = 0.02
"""The kernel counts in ticks of 10 ms at most, rounded down twice."""

Name = tuple[str, str, str]


class Look(NamedTuple):
    """One reading, and when it was: between these two, in monotonic seconds."""

    halves: list[CloseWaitSocket]
    now: float
    asked: float


class NewerOnly(SockDiagClient):
    """A kernel that does not know the older request."""

    def dump(self, request: bytes, **_: bool) -> Iterator[bytes]:
        if struct.unpack_from("=H", request, 4) == (TCPDIAG_GETSOCK,):
            raise NetlinkError("not known", errno.EINVAL)
        return super().dump(request)


def look(*, newer_only: bool = False) -> Look:
    source = CloseWaitSource(NewerOnly() if newer_only else None)
    asked = time.monotonic()
    return Look(source.read(), time.monotonic(), asked)


class Seen(NamedTuple):
    """What is known of one socket at the last look; times in seconds."""

    half: CloseWaitSocket
    real: float
    """How long ago the peer ended the connection, by the clock, at the end of the reading."""
    least: float
    """The same at its beginning."""
    remembered: float
    """Its age to an exporter that looked soon after the end, too."""
    restarted: float
    """Its age to an exporter that has just been started."""
    watched: float
    """How long ago that first look was."""


class Leaks:
    """All of them, looked at twice."""

    def __init__(self, namespace: Namespace) -> None:
        self.namespace = namespace
        program = namespace.popen([sys.executable, "-PS", leaks.__file__])
        assert program.stdout is not None
        self.made = [Leak(*one) for one in json.loads(program.stdout.readline() or "[]")]
        assert self.made, "the program failed: see its message on stderr"
        first, remembering = namespace.call(look), AgeTracker()
        remembering.update(first.halves, first.now)
        assert program.stdout.readline() == "sent\n"
        time.sleep(max(0.0, max(one.ended for one in self.made) + LASTS - time.monotonic()))
        self.last = namespace.call(look)
        ages = zip(
            *(one.update(self.last.halves, self.last.now) for one in (remembering, AgeTracker())), strict=True
        )
        by_ports = {self.ports(one): one for one in self.made}
        self.seen: dict[Name, Seen] = {}
        for half, (remembered, restarted) in zip(self.last.halves, ages, strict=True):
            made = by_ports[self.ports_of(half)]
            real, least = self.last.now - made.ended, self.last.asked - made.ended
            watched = self.last.now - first.now
            self.seen[made[:3]] = Seen(half, real, least, remembered, restarted, watched)

    @staticmethod
    def ports(leak: Leak) -> tuple[str, int, int]:
        return leak.family, leak.local_port, leak.remote_port

    @staticmethod
    def ports_of(half: CloseWaitSocket) -> tuple[str, int, int]:
        _, address, local_port, _, remote_port, *_ = half.socket
        return "ipv4" if len(address) == 4 else "ipv6", local_port, remote_port

    def __getitem__(self, name: Name) -> Seen:
        if name[0] != "tcp" and all(one.protocol == "tcp" for one in self.made):
            pytest.skip("needs a kernel with MPTCP")
        return self.seen[name]


@pytest.fixture(scope="module")
def all_leaks() -> Iterator[Leaks]:
    with open_namespace() as namespace:
        if Path("/proc/sys/net/mptcp/enabled").exists():
            namespace.sysctl("net.mptcp.enabled", 1)
        yield Leaks(namespace)


@pytest.fixture(params=[(*one, family) for one in MADE for family in HOSTS], ids=" ".join)
def name(request: pytest.FixtureRequest) -> Name:
    found: Name = request.param
    return found


def needs_ages(seen: Seen) -> Seen:
    """Skips what an older kernel does not tell."""
    if seen.half.mptcp and seen.half.seconds_since_ack is None:
        pytest.skip("needs Linux 6.10, which has ages in mptcp_info")
    return seen


def test_every_socket_is_there_once(all_leaks: Leaks) -> None:
    assert LATE < LASTS
    made = Counter(map(all_leaks.ports, all_leaks.made))
    assert Counter(map(all_leaks.ports_of, all_leaks.last.halves)) == made


def test_the_cause_is_the_true_one(all_leaks: Leaks, name: Name) -> None:
    assert cause_of(all_leaks[name].half) == CASES[name[1]].cause


def test_it_is_known_which_are_mptcp(all_leaks: Leaks, name: Name) -> None:
    assert all_leaks[name].half.mptcp is (name[0] != "tcp")


def test_the_age_is_right_to_an_exporter_that_has_been_watching(all_leaks: Leaks, name: Name) -> None:
    seen = all_leaks[name]
    assert seen.real >= LASTS
    assert seen.watched <= seen.remembered <= seen.real + TICK
    assert seen.real - seen.remembered < 1


def test_the_age_is_right_or_a_lower_bound_after_a_restart(all_leaks: Leaks, name: Name) -> None:
    seen = needs_ages(all_leaks[name])
    assert seen.restarted == pytest.approx(seen.half.seconds_since_ack)
    assert 0 <= seen.restarted <= seen.real + TICK
    if CASES[name[1]].acknowledged:
        assert seen.real - seen.restarted > 1, "this case ought to show a bound that is none too near"
    else:
        assert seen.real - seen.restarted < 1


def test_the_last_data_are_an_upper_bound(all_leaks: Leaks, name: Name) -> None:
    seen = needs_ages(all_leaks[name])
    assert seen.half.seconds_since_data is not None
    assert seen.half.seconds_since_data >= seen.least - TICK
    since_end = 0.0 if CASES[name[1]].message else IDLE
    assert seen.half.seconds_since_data == pytest.approx(seen.real + since_end, abs=1)


@pytest.mark.parametrize("family", HOSTS)
def test_our_own_keepalive_shows_in_the_timer(all_leaks: Leaks, family: str) -> None:
    timers = {case: all_leaks["tcp", case, family].half.timer for case in CASES}
    assert timers.pop("own keepalive") == 2
    assert timers.pop("sending") in (1, 4)
    assert timers.pop("sending unread") in (1, 4)
    assert set(timers.values()) == {0}


def test_queues_are_those_that_ss_shows(all_leaks: Leaks) -> None:
    by_ss: Counter[tuple[object, ...]] = Counter(one[1:] for one in listed(all_leaks.namespace, "close_wait"))
    tcp = [one for one in all_leaks.last.halves if not one.mptcp]
    ours: Counter[tuple[object, ...]] = Counter(
        (*one.socket[1:5], one.receive_queue, one.send_queue) for one in tcp
    )
    assert len(ours) == len(CASES) * len(HOSTS)
    assert not ours - by_ss


def test_asking_family_by_family_gives_the_same(all_leaks: Leaks) -> None:
    newer = all_leaks.namespace.call(look, newer_only=True)
    assert {(one.socket, cause_of(one)) for one in newer.halves} == {
        (one.socket, cause_of(one)) for one in all_leaks.last.halves
    }
