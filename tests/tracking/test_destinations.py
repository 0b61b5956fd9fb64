"""Who talks, or lately talked, to which destination."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.model.groups import AddressPair, Attribution, Direction, SocketGroup
from exporter.model.process import Owner, ProcessId, Unowned
from exporter.model.sockets import ESTABLISHED, FIN_WAIT2, STATE_NAMES, TIME_WAIT
from exporter.tracking import destinations as destinations_module
from exporter.tracking.destinations import (
    DESTINATION_RETENTION_SECONDS,
    Destination,
    DestinationOwners,
    is_unattributed,
)

from .sockets import CLIENT, OTHER_CLIENT, SERVER, ip

HERE = ip("10.0.0.1")
DATABASE = (ip("10.0.0.9"), 5432)
PROXY = (ip("10.0.0.8"), 3128)

NAMES = {CLIENT: "client", OTHER_CLIENT: "other", SERVER: "client"}
"""Two processes have one name."""


def to(destination: Destination, owner: Owner = CLIENT, state: int = ESTABLISHED) -> SocketGroup:
    address, port = destination
    return SocketGroup(state, owner, Direction.OUTBOUND, port, AddressPair(HERE, address, ephemeral=True))


def update(destinations: DestinationOwners, now: float, *groups: SocketGroup) -> set[Destination]:
    return destinations.update(groups, NAMES.__getitem__, now)


@pytest.fixture
def destinations() -> DestinationOwners:
    return DestinationOwners()


def test_sole_owner_of_a_destination(destinations: DestinationOwners) -> None:
    update(destinations, 0.0, to(DATABASE, state=FIN_WAIT2))
    assert destinations.sole_owner(*DATABASE) == CLIENT
    assert destinations.sole_owner(*PROXY) is None
    assert destinations.owners() == {CLIENT}


def test_no_sole_owner_with_two_processes(destinations: DestinationOwners) -> None:
    update(destinations, 0.0, to(DATABASE), to(DATABASE, OTHER_CLIENT))
    assert destinations.sole_owner(*DATABASE) is None


def test_workers_of_one_name_count_as_one_process(destinations: DestinationOwners) -> None:
    update(destinations, 0.0, to(DATABASE), to(DATABASE, SERVER))
    assert destinations.sole_owner(*DATABASE) in (CLIENT, SERVER)


def test_renamed_process_is_still_the_sole_owner(destinations: DestinationOwners) -> None:
    destinations.update([to(DATABASE)], lambda _: "sh", 0.0)
    destinations.update([to(DATABASE)], lambda _: "curl", 1.0)
    assert destinations.sole_owner(*DATABASE) == CLIENT


def test_owner_is_remembered_for_300_seconds(destinations: DestinationOwners) -> None:
    update(destinations, 0.0, to(DATABASE))
    update(destinations, DESTINATION_RETENTION_SECONDS)
    assert destinations.sole_owner(*DATABASE) == CLIENT
    update(destinations, DESTINATION_RETENTION_SECONDS + 1)
    assert destinations.sole_owner(*DATABASE) is None
    assert not destinations.owners()


def test_remaining_process_becomes_the_sole_owner_after_300_seconds(destinations: DestinationOwners) -> None:
    update(destinations, 0.0, to(DATABASE), to(DATABASE, OTHER_CLIENT))
    update(destinations, DESTINATION_RETENTION_SECONDS, to(DATABASE))
    assert destinations.sole_owner(*DATABASE) is None
    update(destinations, DESTINATION_RETENTION_SECONDS + 1, to(DATABASE))
    assert destinations.sole_owner(*DATABASE) == CLIENT


@pytest.mark.parametrize(
    "silent",
    [
        to(DATABASE, state=TIME_WAIT),
        to(DATABASE, Unowned.NOT_FOUND),
        to(DATABASE, Unowned.RELEASED, FIN_WAIT2),
        SocketGroup(ESTABLISHED, CLIENT, Direction.INBOUND, 80),
    ],
)
def test_groups_without_an_outbound_owner_are_ignored(
    silent: SocketGroup, destinations: DestinationOwners
) -> None:
    assert not update(destinations, 0.0, silent)
    assert len(destinations) == 0


def test_update_returns_destinations_without_owner_before(destinations: DestinationOwners) -> None:
    assert update(destinations, 0.0, to(DATABASE)) == {DATABASE}
    assert update(destinations, 1.0, to(DATABASE), to(DATABASE, OTHER_CLIENT), to(PROXY)) == {PROXY}
    assert update(destinations, DESTINATION_RETENTION_SECONDS + 2) == set()
    assert update(destinations, DESTINATION_RETENTION_SECONDS + 3, to(PROXY)) == {PROXY}


def test_oldest_destination_is_dropped_at_the_limit(
    destinations: DestinationOwners, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(destinations_module, "MAX_DESTINATIONS", 2)
    third = (ip("10.0.0.7"), 80)
    update(destinations, 0.0, to(DATABASE), to(PROXY))
    update(destinations, 1.0, to(DATABASE))
    update(destinations, 2.0, to(third))
    assert [destinations.sole_owner(*place) for place in (DATABASE, PROXY, third)] == [CLIENT, None, CLIENT]


DESTINATIONS = [(ip("10.0.0.9"), port) for port in range(1, 7)]
TALKS = st.tuples(st.sampled_from(sorted(NAMES)), st.sampled_from(DESTINATIONS))
SCRAPES = st.lists(
    st.tuples(st.floats(0, DESTINATION_RETENTION_SECONDS / 2), st.lists(TALKS, max_size=4)),
    min_size=1,
    max_size=12,
)
Scrapes = list[tuple[float, list[tuple[ProcessId, Destination]]]]


def scrapes(found: Scrapes, destinations: DestinationOwners) -> Iterator[dict[Destination, dict[str, float]]]:
    """Tells the destinations, and gives who is to be known after each scrape: when each name was last
    seen."""
    now, last = 0.0, dict[Destination, dict[str, float]]()
    for seconds, talks in found:
        now += seconds
        update(destinations, now, *(to(destination, owner) for owner, destination in talks))
        for owner, destination in talks:
            last.setdefault(destination, {})[NAMES[owner]] = now
        yield {
            destination: {
                name: seen for name, seen in names.items() if seen >= now - DESTINATION_RETENTION_SECONDS
            }
            for destination, names in last.items()
        }


@given(SCRAPES)
def test_sole_owner_exactly_if_one_name_is_known(found: Scrapes) -> None:
    destinations = DestinationOwners()
    for known in scrapes(found, destinations):
        for destination in DESTINATIONS:
            names = known.get(destination, {})
            only = destinations.sole_owner(*destination)
            assert ([NAMES[only]] if only else []) == (list(names) if len(names) == 1 else [])


@given(SCRAPES)
def test_number_of_destinations_is_bounded(found: Scrapes) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(destinations_module, "MAX_DESTINATIONS", 3)
        destinations = DestinationOwners()
        for known in scrapes(found, destinations):
            assert len(destinations) <= 3
            for destination in DESTINATIONS:
                only = destinations.sole_owner(*destination)
                assert only is None or NAMES[only] in known[destination]


GROUPS = st.builds(
    SocketGroup,
    st.sampled_from(sorted(STATE_NAMES)),
    st.sampled_from([CLIENT, *Unowned]),
    st.sampled_from(Direction),
    st.sampled_from([80, 5432]),
    st.none()
    | st.builds(AddressPair, st.just(HERE), st.sampled_from([DATABASE[0], PROXY[0]]), st.booleans()),
    st.none() | st.sampled_from(Attribution),
)


@given(GROUPS)
def test_is_unattributed_only_for_unowned_time_wait_to_the_destination(group: SocketGroup) -> None:
    led_there = group.addresses is not None and (group.addresses.remote_address, group.port) == DATABASE
    expected = (group.state, group.owner, group.direction, led_there) == (
        TIME_WAIT,
        Unowned.RELEASED,
        Direction.OUTBOUND,
        True,
    )
    assert is_unattributed(group, {DATABASE}) == expected
