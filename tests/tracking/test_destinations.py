"""Processes that are, or recently were, connected to a destination."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.model.groups import AddressPair, Attribution, Direction, SocketGroup
from exporter.model.process import Owner, ProcessId, Unowned
from exporter.model.sockets import ESTABLISHED, FIN_WAIT2, STATE_NAMES, TIME_WAIT
from exporter.tracking import destinations as destinations_module
from exporter.tracking.destinations import Destination, DestinationOwners, is_unattributed

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
    update(destinations, 300.0)
    assert destinations.sole_owner(*DATABASE) == CLIENT
    update(destinations, 300.1)
    assert destinations.sole_owner(*DATABASE) is None
    assert not destinations.owners()


def test_remaining_owner_is_the_sole_one_after_300_seconds(destinations: DestinationOwners) -> None:
    update(destinations, 0.0, to(DATABASE), to(DATABASE, OTHER_CLIENT))
    update(destinations, 300.0, to(DATABASE))
    assert destinations.sole_owner(*DATABASE) is None
    update(destinations, 300.1, to(DATABASE))
    assert destinations.sole_owner(*DATABASE) == CLIENT


@pytest.mark.parametrize(
    "group",
    [
        to(DATABASE, state=TIME_WAIT),
        to(DATABASE, Unowned.NOT_FOUND),
        to(DATABASE, Unowned.RELEASED, FIN_WAIT2),
        SocketGroup(ESTABLISHED, CLIENT, Direction.INBOUND, 80),
    ],
)
def test_groups_without_an_outbound_owner_are_ignored(
    group: SocketGroup, destinations: DestinationOwners
) -> None:
    assert not update(destinations, 0.0, group)
    assert len(destinations) == 0


def test_update_returns_destinations_without_owner_before(destinations: DestinationOwners) -> None:
    assert update(destinations, 0.0, to(DATABASE)) == {DATABASE}
    assert update(destinations, 1.0, to(DATABASE), to(DATABASE, OTHER_CLIENT), to(PROXY)) == {PROXY}
    assert update(destinations, 302.0) == set()
    assert update(destinations, 303.0, to(PROXY)) == {PROXY}


def test_oldest_destination_is_dropped_above_10_000(destinations: DestinationOwners) -> None:
    update(destinations, 0.0, to(DATABASE), to(PROXY))
    update(destinations, 1.0, to(DATABASE))
    update(destinations, 2.0, *(to((ip("10.0.0.7"), port)) for port in range(1, 9_999)))
    assert (len(destinations), destinations.sole_owner(*PROXY)) == (10_000, CLIENT)
    update(destinations, 3.0, to((ip("10.0.0.7"), 9_999)))
    assert (len(destinations), destinations.sole_owner(*PROXY)) == (10_000, None)
    assert destinations.sole_owner(*DATABASE) == CLIENT


DESTINATIONS = [(ip("10.0.0.9"), port) for port in range(1, 7)]
CONNECTIONS = st.tuples(st.sampled_from(sorted(NAMES)), st.sampled_from(DESTINATIONS))
COLLECTIONS = st.lists(
    st.tuples(st.floats(0, 150.0), st.lists(CONNECTIONS, max_size=4)),
    min_size=1,
    max_size=12,
)
Collections = list[tuple[float, list[tuple[ProcessId, Destination]]]]


def known_names(
    collections: Collections, destinations: DestinationOwners
) -> Iterator[dict[Destination, dict[str, float]]]:
    """Update the destinations. Yield the names expected after each collection, with their last update."""
    now, last = 0.0, dict[Destination, dict[str, float]]()
    for seconds, connections in collections:
        now += seconds
        update(destinations, now, *(to(destination, owner) for owner, destination in connections))
        for owner, destination in connections:
            last.setdefault(destination, {})[NAMES[owner]] = now
        yield {
            destination: {name: updated for name, updated in names.items() if updated >= now - 300.0}
            for destination, names in last.items()
        }


@given(COLLECTIONS)
def test_sole_owner_exactly_if_one_name_is_known(collections: Collections) -> None:
    destinations = DestinationOwners()
    for known in known_names(collections, destinations):
        for destination in DESTINATIONS:
            names = known.get(destination, {})
            owner = destinations.sole_owner(*destination)
            assert ([NAMES[owner]] if owner else []) == (list(names) if len(names) == 1 else [])


@given(COLLECTIONS)
def test_number_of_destinations_is_bounded(collections: Collections) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(destinations_module, "MAX_DESTINATIONS", 3)
        destinations = DestinationOwners()
        for known in known_names(collections, destinations):
            assert len(destinations) <= 3
            for destination in DESTINATIONS:
                owner = destinations.sole_owner(*destination)
                assert owner is None or NAMES[owner] in known[destination]


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
def test_is_unattributed_for_unowned_time_wait_to_destination(group: SocketGroup) -> None:
    has_destination = group.addresses is not None and (group.addresses.remote_address, group.port) == DATABASE
    expected = (group.state, group.owner, group.direction, has_destination) == (
        TIME_WAIT,
        Unowned.RELEASED,
        Direction.OUTBOUND,
        True,
    )
    assert is_unattributed(group, {DATABASE}) == expected
