"""Who talks, or lately talked, to which destination."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.analysis import time_wait
from exporter.analysis.time_wait import REMEMBERED, Destination, Talkers, is_unexplained
from exporter.model import (
    ESTABLISHED,
    FIN_WAIT2,
    STATE_NAMES,
    TIME_WAIT,
    Attribution,
    Direction,
    Group,
    Owner,
    Path,
    ProcessId,
    Unowned,
)

from .sockets import CLIENT, OTHER_CLIENT, SERVER, ip

HERE = ip("10.0.0.1")
DATABASE = (ip("10.0.0.9"), 5432)
PROXY = (ip("10.0.0.8"), 3128)

NAMES = {CLIENT: "client", OTHER_CLIENT: "other", SERVER: "client"}
"""Two processes have one name."""


def to(destination: Destination, owner: Owner = CLIENT, state: int = ESTABLISHED) -> Group:
    address, port = destination
    return Group(state, owner, Direction.OUTBOUND, port, Path(HERE, address, ephemeral=True))


def update(talkers: Talkers, now: float, *groups: Group) -> set[Destination]:
    return talkers.update(groups, NAMES.__getitem__, now)


@pytest.fixture
def talkers() -> Talkers:
    return Talkers()


def test_the_one_who_talks_there_is_known(talkers: Talkers) -> None:
    update(talkers, 0.0, to(DATABASE, state=FIN_WAIT2))
    assert talkers.only(*DATABASE) == CLIENT
    assert talkers.only(*PROXY) is None
    assert talkers.owners() == {CLIENT}


def test_of_two_neither_is_named(talkers: Talkers) -> None:
    update(talkers, 0.0, to(DATABASE), to(DATABASE, OTHER_CLIENT))
    assert talkers.only(*DATABASE) is None


def test_workers_of_one_name_are_one_talker(talkers: Talkers) -> None:
    update(talkers, 0.0, to(DATABASE), to(DATABASE, SERVER))
    assert talkers.only(*DATABASE) in (CLIENT, SERVER)


def test_a_process_that_takes_another_name_is_still_the_same(talkers: Talkers) -> None:
    talkers.update([to(DATABASE)], lambda _: "sh", 0.0)
    talkers.update([to(DATABASE)], lambda _: "curl", 1.0)
    assert talkers.only(*DATABASE) == CLIENT


def test_who_stopped_talking_is_remembered_for_a_while(talkers: Talkers) -> None:
    update(talkers, 0.0, to(DATABASE))
    update(talkers, REMEMBERED)
    assert talkers.only(*DATABASE) == CLIENT
    update(talkers, REMEMBERED + 1)
    assert talkers.only(*DATABASE) is None
    assert not talkers.owners()


def test_of_two_the_one_who_goes_on_talking_is_alone_in_the_end(talkers: Talkers) -> None:
    update(talkers, 0.0, to(DATABASE), to(DATABASE, OTHER_CLIENT))
    update(talkers, REMEMBERED, to(DATABASE))
    assert talkers.only(*DATABASE) is None
    update(talkers, REMEMBERED + 1, to(DATABASE))
    assert talkers.only(*DATABASE) == CLIENT


@pytest.mark.parametrize(
    "silent",
    [
        to(DATABASE, state=TIME_WAIT),
        to(DATABASE, Unowned.NOT_FOUND),
        to(DATABASE, Unowned.RELEASED, FIN_WAIT2),
        Group(ESTABLISHED, CLIENT, Direction.INBOUND, 80),
    ],
)
def test_what_says_nothing_of_who_calls_whom_is_passed_over(silent: Group, talkers: Talkers) -> None:
    assert not update(talkers, 0.0, silent)
    assert len(talkers) == 0


def test_destinations_are_new_when_nobody_was_known_to_talk_there(talkers: Talkers) -> None:
    assert update(talkers, 0.0, to(DATABASE)) == {DATABASE}
    assert update(talkers, 1.0, to(DATABASE), to(DATABASE, OTHER_CLIENT), to(PROXY)) == {PROXY}
    assert update(talkers, REMEMBERED + 2) == set()
    assert update(talkers, REMEMBERED + 3, to(PROXY)) == {PROXY}


def test_too_many_destinations_make_the_oldest_go(talkers: Talkers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time_wait, "MOST_DESTINATIONS", 2)
    third = (ip("10.0.0.7"), 80)
    update(talkers, 0.0, to(DATABASE), to(PROXY))
    update(talkers, 1.0, to(DATABASE))
    update(talkers, 2.0, to(third))
    assert [talkers.only(*place) for place in (DATABASE, PROXY, third)] == [CLIENT, None, CLIENT]


DESTINATIONS = [(ip("10.0.0.9"), port) for port in range(1, 7)]
TALKS = st.tuples(st.sampled_from(sorted(NAMES)), st.sampled_from(DESTINATIONS))
SCRAPES = st.lists(
    st.tuples(st.floats(0, REMEMBERED / 2), st.lists(TALKS, max_size=4)), min_size=1, max_size=12
)
Scrapes = list[tuple[float, list[tuple[ProcessId, Destination]]]]


def scrapes(found: Scrapes, talkers: Talkers) -> Iterator[dict[Destination, dict[str, float]]]:
    """Tells the talkers, and gives who is to be known after each scrape: when each name was last seen."""
    now, last = 0.0, dict[Destination, dict[str, float]]()
    for seconds, talks in found:
        now += seconds
        update(talkers, now, *(to(destination, owner) for owner, destination in talks))
        for owner, destination in talks:
            last.setdefault(destination, {})[NAMES[owner]] = now
        yield {
            destination: {name: seen for name, seen in names.items() if seen >= now - REMEMBERED}
            for destination, names in last.items()
        }


@given(SCRAPES)
def test_only_names_a_process_exactly_where_one_name_is_known(found: Scrapes) -> None:
    talkers = Talkers()
    for known in scrapes(found, talkers):
        for destination in DESTINATIONS:
            names = known.get(destination, {})
            only = talkers.only(*destination)
            assert ([NAMES[only]] if only else []) == (list(names) if len(names) == 1 else [])


@given(SCRAPES)
def test_memory_is_bounded_and_nobody_is_ever_one_of_several(found: Scrapes) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time_wait, "MOST_DESTINATIONS", 3)
        talkers = Talkers()
        for known in scrapes(found, talkers):
            assert len(talkers) <= 3
            for destination in DESTINATIONS:
                only = talkers.only(*destination)
                assert only is None or NAMES[only] in known[destination]


GROUPS = st.builds(
    Group,
    st.sampled_from(sorted(STATE_NAMES)),
    st.sampled_from([CLIENT, *Unowned]),
    st.sampled_from(Direction),
    st.sampled_from([80, 5432]),
    st.none() | st.builds(Path, st.just(HERE), st.sampled_from([DATABASE[0], PROXY[0]]), st.booleans()),
    st.none() | st.sampled_from(Attribution),
)


@given(GROUPS)
def test_only_time_wait_without_an_owner_that_led_there_is_looked_at_again(group: Group) -> None:
    led_there = group.path is not None and (group.path.remote_address, group.port) == DATABASE
    expected = (group.state, group.owner, group.direction, led_there) == (
        TIME_WAIT,
        Unowned.RELEASED,
        Direction.OUTBOUND,
        True,
    )
    assert is_unexplained(group, {DATABASE}) == expected
