"""Owner of the listener on an address and port."""

from __future__ import annotations

import pytest

from exporter.model.process import Owner, Unowned
from exporter.tracking.listeners import ListenerTable

from .sockets import SERVER, WORKER, ip, listener, listening

HERE = ip("10.0.0.1")
HTTP = ("0.0.0.0", 80)


def test_listener_on_the_same_address_is_found() -> None:
    assert listening((("10.0.0.1", 80), SERVER)).owner(HERE, 80) == SERVER


def test_listener_on_another_address_is_not_found() -> None:
    assert listening((("10.0.0.7", 80), SERVER)).owner(HERE, 80) is None


def test_listener_on_another_port_is_not_found() -> None:
    assert listening((HTTP, SERVER)).owner(HERE, 81) is None


@pytest.mark.parametrize("wildcard", ["0.0.0.0", "::"])
def test_wildcard_listener_accepts_ipv4(wildcard: str) -> None:
    assert listening(((wildcard, 80), SERVER)).owner(HERE, 80) == SERVER


def test_specific_address_takes_precedence_over_wildcard() -> None:
    table = listening((HTTP, SERVER), (("10.0.0.1", 80), WORKER))
    assert table.owner(HERE, 80) == WORKER
    assert table.owner(ip("10.0.0.2"), 80) == SERVER


def test_ipv4_and_v6only_listeners_are_two_services() -> None:
    table = listening((HTTP, SERVER), (("::", 80), WORKER))
    assert table.owner(HERE, 80) == SERVER
    assert table.owner(ip("2001:db8::1"), 80) == WORKER


def test_ipv4_listener_does_not_accept_ipv6() -> None:
    assert listening((HTTP, SERVER)).owner(ip("2001:db8::1"), 80) is None


def test_lowest_pid_owns_a_port_shared_by_several_listeners() -> None:
    owners = (WORKER, Unowned.NOT_FOUND, SERVER)
    assert listening(*((("::", 80), owner) for owner in owners)).owner(ip("::1"), 80) == SERVER


def queues(*lengths: tuple[Owner, int]) -> ListenerTable:
    """Return a table of listeners on one port with these owners and queue lengths."""
    table = ListenerTable()
    table.update([(listener(HTTP)._replace(queue_length=length), owner) for owner, length in lengths])
    return table


@pytest.mark.parametrize(
    ("lengths", "previous", "owner"),
    [
        ([(SERVER, 0), (WORKER, 19)], None, WORKER),
        ([(SERVER, 0), (WORKER, 19)], SERVER, WORKER),
        ([(SERVER, 5), (WORKER, 19)], SERVER, SERVER),
        ([(SERVER, 5), (WORKER, 19)], None, WORKER),
        ([(WORKER, 5), (SERVER, 5)], None, SERVER),
        ([(SERVER, 0), (Unowned.NOT_FOUND, 3)], None, Unowned.NOT_FOUND),
        ([(SERVER, 0), (WORKER, 0)], None, None),
        ([(SERVER, 3), (SERVER, 0)], None, None),
        ([(SERVER, 3)], None, None),
    ],
)
def test_queue_owner_of_a_shared_port_is_who_holds_connections(
    lengths: list[tuple[Owner, int]], previous: Owner | None, owner: Owner | None
) -> None:
    assert queues(*lengths).queue_owner(HERE, 80, previous) == owner


def test_queue_owner_is_known_without_a_new_version() -> None:
    table = queues((SERVER, 0), (WORKER, 1))
    version = table.version
    table.update([(listener(HTTP)._replace(queue_length=0), owner) for owner in (SERVER, WORKER)])
    assert (table.version, table.queue_owner(HERE, 80, None)) == (version, None)
    assert table.queue_owner(HERE, 81, None) is None


def test_closed_listener_is_forgotten() -> None:
    table = listening((HTTP, SERVER))
    version = table.version
    table.update([])
    assert (table.owner(HERE, 80), table.ports) == (None, set())
    assert table.version != version


def test_invalidated_owner_leaves_the_port_inbound() -> None:
    table = listening((HTTP, SERVER))
    table.invalidate({SERVER})
    assert table.owner(HERE, 80) is Unowned.RELEASED


def test_invalidating_one_owner_keeps_the_others() -> None:
    table = listening((HTTP, SERVER), (("0.0.0.0", 81), WORKER))
    table.invalidate({SERVER})
    assert table.owner(HERE, 81) == WORKER
