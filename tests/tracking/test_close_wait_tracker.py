"""CLOSE_WAIT: causes, ages that are bounds and mostly exact, and their buckets."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.model.sockets import CLOSE_WAIT, CloseWaitSocket, Socket
from exporter.tracking.close_wait_tracker import AgeTracker, cause_of

DAY = 86_400.0
WRAPS = 2**32 / 1000
"""Seconds after which the kernel's milliseconds begin anew."""

SECONDS = st.floats(0, 1e6)
TIMES = st.floats(-1e6, 1e9)


def half(
    cookie: int = 1,
    seconds_since_ack: float | None = None,
    seconds_since_data: float | None = None,
    *,
    owner_key: int = 4711,
    queues: tuple[int | None, int | None] = (0, 0),
    remote_port: int = 40000,
    mptcp: bool = False,
) -> CloseWaitSocket:
    here = bytes((127, 0, 0, 1))
    socket = Socket(CLOSE_WAIT, here, 80, here, remote_port, owner_key, cookie)
    return CloseWaitSocket(socket, *queues, 0, seconds_since_ack, seconds_since_data, mptcp)


def age(ages: AgeTracker, one: CloseWaitSocket, now: float) -> float:
    (found,) = ages.update([one], now)
    return found


@pytest.mark.parametrize(
    ("owner_key", "queues", "expected"),
    [
        (0, (1, 0), "not_accepted"),
        (0, (0, 0), "not_accepted"),
        (0, (101, 5), "not_accepted"),
        (7, (1, 0), "not_read"),
        (7, (101, 0), "not_read"),
        (7, (0, 0), "not_closed"),
        (7, (0, 1), "sending"),
        (7, (101, 1), "sending"),
        (7, (None, None), "unknown"),
        (0, (None, None), "unknown"),
    ],
)
def test_cause_by_owner_key_and_queues(
    owner_key: int, queues: tuple[int | None, int | None], expected: str
) -> None:
    assert cause_of(half(owner_key=owner_key, queues=queues)) == expected


class TestAges:
    def test_first_age_is_the_time_since_the_last_ack(self) -> None:
        assert age(AgeTracker(), half(seconds_since_ack=4.1, seconds_since_data=7.1), 100.0) == pytest.approx(
            4.1
        )

    def test_age_starts_at_first_sight_without_tcp_info(self) -> None:
        ages = AgeTracker()
        assert age(ages, half(), 100.0) == 0
        assert age(ages, half(), 130.0) == 30

    def test_later_ack_does_not_lower_the_age(self) -> None:
        """A keepalive of ours is answered every 75 s. The scrapes are 15 s apart."""
        ages = AgeTracker()
        assert age(ages, half(seconds_since_ack=74.0), 1000.0) == 74
        assert age(ages, half(seconds_since_ack=14.0), 1015.0) == 89
        assert age(ages, half(seconds_since_ack=29.0), 1030.0) == 104

    def test_age_rises_when_the_kernel_reports_more(self) -> None:
        ages = AgeTracker()
        assert age(ages, half(), 100.0) == 0
        assert age(ages, half(seconds_since_ack=50.0), 110.0) == 50

    def test_age_grows_past_the_wrap_of_kernel_milliseconds(self) -> None:
        ages = AgeTracker()
        for days in range(0, 200, 10):
            real = days * DAY
            one = half(seconds_since_ack=real % WRAPS, seconds_since_data=(real + 3 * DAY) % WRAPS)
            assert age(ages, one, 5e6 + real) == pytest.approx(real)

    def test_restart_of_the_exporter_loses_ages(self) -> None:
        ages = AgeTracker()
        age(ages, half(seconds_since_ack=500.0), 1000.0)
        assert age(ages, half(seconds_since_ack=2.0), 1100.0) == 600
        assert age(AgeTracker(), half(seconds_since_ack=2.0), 1100.0) == 2

    def test_socket_that_disappeared_starts_at_age_zero(self) -> None:
        ages = AgeTracker()
        age(ages, half(), 0.0)
        ages.update([], 5.0)
        assert age(ages, half(), 10.0) == 0

    def test_sockets_without_cookie_are_identified_by_addresses(self) -> None:
        ages = AgeTracker()
        assert ages.update([half(0, remote_port=1)], 0.0) == [0]
        assert ages.update([half(0, remote_port=2), half(0, remote_port=1)], 9.0) == [0, 9]
        assert ages.update([half(0, remote_port=2, owner_key=99)], 12.0) == [3]

    def test_new_cookie_between_the_same_ports_starts_at_age_zero(self) -> None:
        ages = AgeTracker()
        age(ages, half(1), 0.0)
        assert age(ages, half(2), 100.0) == 0

    @given(st.lists(st.tuples(st.lists(st.builds(half, st.integers(0, 9))), TIMES), max_size=8))
    def test_only_sockets_of_the_last_update_are_remembered(
        self, collections: list[tuple[list[CloseWaitSocket], float]]
    ) -> None:
        ages = AgeTracker()
        for halves, now in collections:
            assert len(ages.update(halves, now)) == len(halves)
            assert len(ages) == len({one.socket.cookie for one in halves})

    @given(
        st.lists(
            st.tuples(st.lists(st.builds(half, st.integers(0, 3), st.none() | SECONDS), max_size=4), TIMES),
            max_size=8,
        )
    )
    def test_age_is_never_negative_when_the_clock_steps_back(
        self, collections: list[tuple[list[CloseWaitSocket], float]]
    ) -> None:
        ages = AgeTracker()
        for halves, now in collections:
            assert all(found >= 0 for found in ages.update(halves, now))


@given(
    ended=st.floats(0, 1e6),
    idle=SECONDS,
    acks=st.lists(SECONDS, max_size=5),
    looks=st.lists(SECONDS, min_size=1, max_size=10).map(sorted),
    restart=st.integers(0, 9),
    knows=st.booleans(),
)
def test_age_stays_between_its_bounds_over_a_connection(
    ended: float, idle: float, acks: list[float], looks: list[float], restart: int, knows: bool
) -> None:
    """A peer ends its side `idle` seconds after its last data; ACKs come, and the exporter looks
    and is restarted. Times are in seconds after the end."""
    ages, first, previous = AgeTracker(), looks[0], None
    for number, look in enumerate(looks):
        if number == restart:
            ages, first, previous = AgeTracker(), look, None
        seconds_since_ack = look - max((ack for ack in acks if ack <= look), default=0.0)
        one = half(seconds_since_ack=seconds_since_ack, seconds_since_data=look + idle) if knows else half()
        found = age(ages, one, ended + look)
        slack = 1e-6
        assert look - first - slack <= found <= look + slack
        if knows:
            assert seconds_since_ack - slack <= found
        if knows and not any(ack <= look for ack in acks):
            assert found == pytest.approx(look, abs=slack)
        if previous is not None:
            assert found - previous[1] >= look - previous[0] - slack
        previous = look, found
