"""Whose a socket in TIME_WAIT was, and how that is known: the kernel keeps no owner for it."""

from __future__ import annotations

from hypothesis import given

from exporter.analysis.listening import Listeners
from exporter.analysis.time_wait import Talkers
from exporter.model import (
    ESTABLISHED,
    TIME_WAIT,
    Attribution,
    Direction,
    Group,
    Owner,
    Path,
    ProcessId,
    Socket,
    Unowned,
)

from .classifying import HTTP, LIFE, NOBODY, WAS_INBOUND, WAS_OUTBOUND, Life, classify, live, talking
from .sockets import CLIENT, OTHER_CLIENT, SERVER, inbound, ip, listening, outbound


def past(
    socket: Socket, listeners: Listeners = NOBODY, before: Group | None = None, talkers: Talkers | None = None
) -> tuple[Owner, Attribution | None]:
    group = classify(socket, listeners, before, talkers)
    return group.owner, group.attribution


WAITING_HERE = inbound(TIME_WAIT, holder=0)
WAITING_THERE = outbound(TIME_WAIT, holder=0)


def test_time_wait_on_the_server_is_the_listeners() -> None:
    assert past(WAITING_HERE, HTTP) == (SERVER, Attribution.LISTENER)


def test_time_wait_seen_earlier_is_whose_it_was() -> None:
    assert past(WAITING_THERE, before=WAS_OUTBOUND) == (CLIENT, Attribution.OBSERVED)


def test_time_wait_towards_where_one_process_talks_is_inferred_to_be_its() -> None:
    assert past(WAITING_THERE, talkers=talking(CLIENT)) == (CLIENT, Attribution.INFERRED)


def test_what_was_seen_counts_for_more_than_who_talks() -> None:
    seen = past(WAITING_THERE, before=WAS_OUTBOUND, talkers=talking(OTHER_CLIENT))
    assert seen == (CLIENT, Attribution.OBSERVED)


def test_time_wait_towards_where_several_talk_is_nobodys() -> None:
    shared = past(WAITING_THERE, talkers=talking(CLIENT, OTHER_CLIENT))
    assert shared == (Unowned.RELEASED, Attribution.NONE)


def test_time_wait_of_a_caller_never_seen_is_nobodys() -> None:
    assert past(WAITING_THERE) == (Unowned.RELEASED, Attribution.NONE)


def test_time_wait_of_a_listener_that_nobody_was_found_for_says_so() -> None:
    hidden = listening((("0.0.0.0", 80), Unowned.NOT_FOUND))
    assert past(WAITING_HERE, hidden) == (Unowned.NOT_FOUND, Attribution.NONE)
    assert past(WAITING_HERE, hidden, WAS_INBOUND) == (SERVER, Attribution.OBSERVED)


def test_who_listens_on_a_callers_port_later_did_not_accept_its_connection() -> None:
    later = listening((("0.0.0.0", 40_001), SERVER))
    assert past(WAITING_THERE, later, WAS_OUTBOUND) == (CLIENT, Attribution.OBSERVED)


def test_who_calls_an_address_and_port_is_not_who_was_called_from_there() -> None:
    """The listener is long gone; the client's end was 10.0.0.2:50000."""
    talkers = Talkers()
    path = Path(ip("10.0.0.1"), ip("10.0.0.2"), ephemeral=True)
    talkers.update([Group(ESTABLISHED, CLIENT, Direction.OUTBOUND, 50_000, path)], str, 0.0)
    before = WAS_INBOUND._replace(owner=Unowned.RELEASED)
    assert past(WAITING_HERE, NOBODY, before, talkers) == (Unowned.RELEASED, Attribution.NONE)


@given(LIFE)
def test_a_way_to_know_fits_what_is_said(life: Life) -> None:
    for group in live(life):
        if group.attribution is Attribution.LISTENER:
            assert group.direction is Direction.INBOUND
        if group.attribution is Attribution.INFERRED:
            assert group.direction is Direction.OUTBOUND
        if group.attribution is not None:
            assert isinstance(group.owner, ProcessId) == (group.attribution is not Attribution.NONE)
