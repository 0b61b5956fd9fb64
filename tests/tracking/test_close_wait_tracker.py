"""CLOSE_WAIT: causes, groups, and ages that are lower bounds and mostly exact."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.model.close_wait import Cause, ClassifiedCloseWait
from exporter.model.groups import Direction, SocketGroup
from exporter.model.process import ProcessId
from exporter.model.sockets import CLOSE_WAIT, ESTABLISHED, CloseWaitSocket, Socket
from exporter.tracking.classifier import Classifier
from exporter.tracking.close_wait_tracker import AgeTracker, cause_of, classify_close_wait
from exporter.tracking.destinations import DestinationOwners
from exporter.tracking.listeners import ListenerTable

DAY = 86_400.0
WRAP_SECONDS = 2**32 / 1000
"""Seconds after which the kernel's milliseconds wrap around."""

SECONDS = st.floats(0, 1e6)
TIMES = st.floats(-1e6, 1e9)


def close_wait(
    cookie: int = 1,
    seconds_since_ack: float | None = None,
    seconds_since_data: float | None = None,
    *,
    owner_key: int = 4711,
    queues: tuple[int | None, int | None] = (0, 0),
    remote_port: int = 40000,
    seconds_since_sent: float | None = None,
    mptcp: bool = False,
) -> CloseWaitSocket:
    here = bytes((127, 0, 0, 1))
    socket = Socket(CLOSE_WAIT, here, 80, here, remote_port, owner_key, cookie)
    return CloseWaitSocket(
        socket, *queues, 0, seconds_since_ack, seconds_since_data, seconds_since_sent, mptcp
    )


def age(ages: AgeTracker, sock: CloseWaitSocket, now: float) -> float:
    (seconds,) = ages.update([sock], now)
    return seconds


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
    assert cause_of(close_wait(owner_key=owner_key, queues=queues), 60.0) == expected


@pytest.mark.parametrize(
    ("seconds_since_sent", "age", "expected"),
    [
        pytest.param(None, 60.0, "not_closed", id="unknown"),
        pytest.param(0.5, 60.0, "sending", id="a moment ago"),
        pytest.param(50.0, 60.0, "sending", id="long after the FIN"),
        pytest.param(60.004, 60.0, "not_closed", id="just before the FIN"),
        pytest.param(59.99, 60.0, "not_closed", id="rounded by the kernel"),
        pytest.param(500.0, 60.0, "not_closed", id="long before the FIN"),
        pytest.param(4.0, 4.0, "not_closed", id="first collection, ACK of a send after the FIN"),
        pytest.param(299.0, 4000.0, "sending", id="within five minutes"),
        pytest.param(300.0, 4000.0, "not_closed", id="sent after the FIN, and leaked"),
    ],
)
def test_recent_send_after_the_fin_is_sending(
    seconds_since_sent: float | None, age: float, expected: str
) -> None:
    assert cause_of(close_wait(seconds_since_sent=seconds_since_sent), age) == expected


@pytest.mark.parametrize(
    ("owner_key", "queues", "expected"),
    [
        (0, (1, 0), "not_accepted"),
        (7, (1, 0), "sending"),
        (7, (None, None), "unknown"),
    ],
)
def test_send_after_the_fin_is_no_cause_of_unaccepted_connections(
    owner_key: int, queues: tuple[int | None, int | None], expected: str
) -> None:
    assert cause_of(close_wait(owner_key=owner_key, queues=queues, seconds_since_sent=1.0), 60.0) == expected


class TestAges:
    def test_first_age_is_the_time_since_the_last_ack(self) -> None:
        assert age(
            AgeTracker(), close_wait(seconds_since_ack=4.1, seconds_since_data=7.1), 100.0
        ) == pytest.approx(4.1)

    def test_age_starts_at_first_sight_without_tcp_info(self) -> None:
        ages = AgeTracker()
        assert age(ages, close_wait(), 100.0) == 0
        assert age(ages, close_wait(), 130.0) == 30

    def test_later_ack_does_not_lower_the_age(self) -> None:
        """Keepalive probes of the local side are answered every 75 s. The scrapes are 15 s apart."""
        ages = AgeTracker()
        assert age(ages, close_wait(seconds_since_ack=74.0), 1000.0) == 74
        assert age(ages, close_wait(seconds_since_ack=14.0), 1015.0) == 89
        assert age(ages, close_wait(seconds_since_ack=29.0), 1030.0) == 104

    def test_age_rises_when_the_kernel_reports_more(self) -> None:
        ages = AgeTracker()
        assert age(ages, close_wait(), 100.0) == 0
        assert age(ages, close_wait(seconds_since_ack=50.0), 110.0) == 50

    def test_age_grows_past_the_wrap_of_kernel_milliseconds(self) -> None:
        ages = AgeTracker()
        for days in range(0, 200, 10):
            real_age = days * DAY
            sock = close_wait(
                seconds_since_ack=real_age % WRAP_SECONDS,
                seconds_since_data=(real_age + 3 * DAY) % WRAP_SECONDS,
            )
            assert age(ages, sock, 5e6 + real_age) == pytest.approx(real_age)

    def test_restart_of_the_exporter_loses_ages(self) -> None:
        ages = AgeTracker()
        age(ages, close_wait(seconds_since_ack=500.0), 1000.0)
        assert age(ages, close_wait(seconds_since_ack=2.0), 1100.0) == 600
        assert age(AgeTracker(), close_wait(seconds_since_ack=2.0), 1100.0) == 2

    def test_socket_that_disappeared_starts_at_age_zero(self) -> None:
        ages = AgeTracker()
        age(ages, close_wait(), 0.0)
        ages.update([], 5.0)
        assert age(ages, close_wait(), 10.0) == 0

    def test_sockets_without_cookie_are_identified_by_addresses(self) -> None:
        ages = AgeTracker()
        assert ages.update([close_wait(0, remote_port=1)], 0.0) == [0]
        assert ages.update([close_wait(0, remote_port=2), close_wait(0, remote_port=1)], 9.0) == [0, 9]
        assert ages.update([close_wait(0, remote_port=2, owner_key=99)], 12.0) == [3]

    def test_new_cookie_between_the_same_ports_starts_at_age_zero(self) -> None:
        ages = AgeTracker()
        age(ages, close_wait(1), 0.0)
        assert age(ages, close_wait(2), 100.0) == 0

    @given(st.lists(st.tuples(st.lists(st.builds(close_wait, st.integers(0, 9))), TIMES), max_size=8))
    def test_only_sockets_of_the_last_update_are_remembered(
        self, collections: list[tuple[list[CloseWaitSocket], float]]
    ) -> None:
        ages = AgeTracker()
        for sockets, now in collections:
            assert len(ages.update(sockets, now)) == len(sockets)
            assert len(ages) == len({sock.socket.cookie for sock in sockets})

    @given(
        st.lists(
            st.tuples(
                st.lists(st.builds(close_wait, st.integers(0, 3), st.none() | SECONDS), max_size=4), TIMES
            ),
            max_size=8,
        )
    )
    def test_age_is_never_negative_when_the_clock_steps_back(
        self, collections: list[tuple[list[CloseWaitSocket], float]]
    ) -> None:
        ages = AgeTracker()
        for sockets, now in collections:
            assert all(seconds >= 0 for seconds in ages.update(sockets, now))


@given(
    ended=st.floats(0, 1e6),
    idle=SECONDS,
    acks=st.lists(SECONDS, max_size=5),
    collections=st.lists(SECONDS, min_size=1, max_size=10).map(sorted),
    restart=st.integers(0, 9),
    has_tcp_info=st.booleans(),
)
def test_age_stays_between_its_bounds_over_a_connection(
    ended: float, idle: float, acks: list[float], collections: list[float], restart: int, has_tcp_info: bool
) -> None:
    """A peer shuts its side down `idle` seconds after its last data; ACKs arrive, and the exporter collects
    and is restarted. Times are in seconds after the shutdown."""
    ages, first, previous = AgeTracker(), collections[0], None
    for number, now in enumerate(collections):
        if number == restart:
            ages, first, previous = AgeTracker(), now, None
        seconds_since_ack = now - max((ack for ack in acks if ack <= now), default=0.0)
        sock = (
            close_wait(seconds_since_ack=seconds_since_ack, seconds_since_data=now + idle)
            if has_tcp_info
            else close_wait()
        )
        seconds = age(ages, sock, ended + now)
        slack = 1e-6
        assert now - first - slack <= seconds <= now + slack
        if has_tcp_info:
            assert seconds_since_ack - slack <= seconds
        if has_tcp_info and not any(ack <= now for ack in acks):
            assert seconds == pytest.approx(now, abs=slack)
        if previous is not None:
            assert seconds - previous[1] >= now - previous[0] - slack
        previous = now, seconds


OWNER = ProcessId(5, 1.0)
HOME = bytes((127, 0, 0, 1))
UNREAD = CloseWaitSocket(
    Socket(CLOSE_WAIT, HOME, 40_000, HOME, 443, 7, 1), 1, 0, 0, 30.0, 40.0, None, mptcp=False
)
CLASSIFIED = SocketGroup(CLOSE_WAIT, OWNER, Direction.OUTBOUND, 443)
COUNTED = CLASSIFIED._replace(port=8443)
BEFORE_CLOSE = COUNTED._replace(state=ESTABLISHED)


@pytest.mark.parametrize(
    ("previous", "counted", "group"),
    [
        (COUNTED, True, COUNTED),
        (COUNTED, False, CLASSIFIED),
        (BEFORE_CLOSE, True, CLASSIFIED),
        (None, True, CLASSIFIED),
    ],
)
def test_previous_group_is_kept_if_counted_in_this_collection(
    previous: SocketGroup | None, counted: bool, group: SocketGroup
) -> None:
    classify = Classifier(ListenerTable(), DestinationOwners(), {7: OWNER}.__getitem__, None)
    (row,) = classify_close_wait([(UNREAD, 30.5)], [previous], classify, counted=counted)
    assert row == ClassifiedCloseWait(UNREAD, row.group, Cause.NOT_READ, 30.5)
    assert row.group[:4] == group[:4]
