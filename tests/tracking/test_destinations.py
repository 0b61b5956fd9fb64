"""Processes that are, or recently were, connected to a destination."""

from __future__ import annotations

from collections.abc import Collection, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.model.groups import AddressPair, Direction, SocketGroup
from exporter.model.process import Owner, ProcessId, Unowned
from exporter.model.sockets import ESTABLISHED, FIN_WAIT2, TIME_WAIT
from exporter.tracking import destinations as destinations_module
from exporter.tracking.destinations import Destination, DestinationOwners

from .sockets import CLIENT, OTHER_CLIENT, SERVER, ip

HERE = ip("10.0.0.1")
DATABASE = (ip("10.0.0.9"), 5432)
PROXY = (ip("10.0.0.8"), 3128)

NAMES = {CLIENT: "client", OTHER_CLIENT: "other", SERVER: "client"}
"""Two processes have one name."""


def to(destination: Destination, owner: Owner = CLIENT, state: int = ESTABLISHED) -> SocketGroup:
    address, port = destination
    return SocketGroup(state, owner, Direction.OUTBOUND, port, AddressPair(HERE, address, ephemeral=True))


def update(
    destinations: DestinationOwners, now: float, *groups: SocketGroup, opened: Collection[SocketGroup] = ()
) -> None:
    destinations.update(groups, opened, NAMES.__getitem__, now)


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
    destinations.update([to(DATABASE)], [], lambda _: "sh", 0.0)
    destinations.update([to(DATABASE)], [to(DATABASE)], lambda _: "curl", 1.0)
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
    update(destinations, 0.0, group)
    assert len(destinations) == 0


def test_probable_owner_opens_connections_and_was_connected_before(destinations: DestinationOwners) -> None:
    update(destinations, 0.0, to(DATABASE), opened=[to(DATABASE)])
    assert destinations.probable_owner(*DATABASE) is None
    update(destinations, 15.0, to(DATABASE), opened=[to(DATABASE)])
    assert destinations.probable_owner(*DATABASE) == CLIENT
    update(destinations, 30.0, to(DATABASE))
    assert destinations.probable_owner(*DATABASE) is None


def test_no_probable_owner_with_two_processes(destinations: DestinationOwners) -> None:
    update(destinations, 0.0, to(DATABASE), to(DATABASE, OTHER_CLIENT))
    update(destinations, 15.0, to(DATABASE), opened=[to(DATABASE)])
    assert destinations.probable_owner(*DATABASE) is None


def test_no_probable_owner_while_an_unknown_process_is_connected(destinations: DestinationOwners) -> None:
    update(destinations, 0.0, to(DATABASE))
    hidden = to(DATABASE, Unowned.NOT_FOUND)
    update(destinations, 15.0, to(DATABASE), hidden, opened=[to(DATABASE)])
    assert destinations.probable_owner(*DATABASE) is None
    update(destinations, 30.0, to(DATABASE), opened=[to(DATABASE)])
    assert destinations.probable_owner(*DATABASE) == CLIENT


def test_connections_opened_elsewhere_are_no_evidence(destinations: DestinationOwners) -> None:
    update(destinations, 0.0, to(DATABASE), to(PROXY))
    update(destinations, 15.0, to(DATABASE), to(PROXY), opened=[to(PROXY)])
    assert destinations.probable_owner(*DATABASE) is None
    assert destinations.probable_owner(*PROXY) == CLIENT


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
