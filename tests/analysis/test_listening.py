"""Who listens on an address and port."""

from __future__ import annotations

import pytest

from exporter.analysis.listening import LINGER
from exporter.model import Unowned

from .sockets import SERVER, WORKER, ip, listening

HERE = ip("10.0.0.1")
HTTP = ("0.0.0.0", 80)


def test_a_listener_on_the_very_address_accepts() -> None:
    assert listening((("10.0.0.1", 80), SERVER)).owner(HERE, 80) == SERVER


def test_a_listener_on_another_address_accepts_nothing() -> None:
    assert listening((("10.0.0.7", 80), SERVER)).owner(HERE, 80) is None


def test_a_listener_on_another_port_accepts_nothing() -> None:
    assert listening((HTTP, SERVER)).owner(HERE, 81) is None


@pytest.mark.parametrize("anywhere", ["0.0.0.0", "::"])
def test_a_listener_on_all_addresses_accepts_ipv4(anywhere: str) -> None:
    assert listening(((anywhere, 80), SERVER)).owner(HERE, 80) == SERVER


def test_the_very_address_wins_over_all_addresses() -> None:
    table = listening((HTTP, SERVER), (("10.0.0.1", 80), WORKER))
    assert table.owner(HERE, 80) == WORKER
    assert table.owner(ip("10.0.0.2"), 80) == SERVER


def test_of_several_listeners_on_a_port_the_lowest_pid_stands_for_all() -> None:
    everybody = (WORKER, Unowned.NOT_FOUND, SERVER)
    assert listening(*((("::", 80), owner) for owner in everybody)).owner(ip("::1"), 80) == SERVER


def test_a_port_stays_inbound_for_a_while_after_its_listener_went() -> None:
    table = listening((HTTP, SERVER))
    table.update([], LINGER)
    assert table.owner(HERE, 80) == SERVER
    table.update([], LINGER + 1)
    assert table.owner(HERE, 80) is None


def test_a_dead_listener_still_makes_its_port_inbound() -> None:
    table = listening((HTTP, SERVER))
    table.forget({SERVER})
    assert table.owner(HERE, 80) is Unowned.RELEASED


def test_to_forget_one_owner_leaves_the_others() -> None:
    table = listening((HTTP, SERVER), (("0.0.0.0", 81), WORKER))
    table.forget({SERVER})
    assert table.owner(HERE, 81) == WORKER
