"""Ephemeral ports: which destinations are named, and what is compared with what."""

from __future__ import annotations

from dataclasses import replace
from socket import AF_INET6, inet_aton, inet_pton

import pytest

from exporter.exposition.families.ephemeral import SHOWN
from exporter.model.groups import AddressPair, Direction, SocketGroup
from exporter.model.host import EphemeralRange, SysctlLimits
from exporter.model.process import Unowned
from exporter.model.snapshot import Snapshot
from exporter.model.sockets import ESTABLISHED

from .seen import SEEN, collect, values

HERE = inet_aton("10.0.0.1")
USED = "socket_ephemeral_ports_used"


def calling(ports_by_destination: dict[str, int]) -> Snapshot:
    """So many ports towards port 443 of each address."""
    groups = {}
    for address, ports in ports_by_destination.items():
        remote = inet_pton(AF_INET6, address) if ":" in address else inet_aton(address)
        path = AddressPair(HERE, remote, ephemeral=True)
        groups[SocketGroup(ESTABLISHED, Unowned.NOT_FOUND, Direction.OUTBOUND, 443, path)] = ports
    return replace(SEEN, groups=groups)


def test_only_the_fullest_destinations_are_named_and_the_fullest_counts() -> None:
    families = collect(calling({f"10.0.1.{number}": number for number in range(1, 31)}))
    named = values(families[USED])
    assert len(named) == SHOWN
    assert named["10.0.1.30", "443"] == 30
    assert ("10.0.1.20", "443") not in named
    assert values(families[f"{USED}_max"]) == {(): 30}


@pytest.mark.parametrize("address", ["10.0.1.1", "fd00::1", "::1"])
def test_addresses_are_written_as_people_write_them(address: str) -> None:
    assert values(collect(calling({address: 2}))[USED]) == {(address, "443"): 2}


def test_without_destinations_nothing_is_used_and_none_is_named() -> None:
    families = collect(calling({}))
    assert not families[USED].samples
    assert values(families[f"{USED}_max"]) == {(): 0}


def test_the_limit_is_the_range_less_what_is_reserved_listened_on_and_bound() -> None:
    """Of 10,000 ports 40500 is reserved, 40000 listened on and 40001 bound."""
    assert values(collect()["socket_ephemeral_ports_limit"]) == {(): 9_997}


def test_a_range_of_which_all_is_taken_has_the_limit_0() -> None:
    limits = SysctlLimits(ephemeral=EphemeralRange(40_000, 40_001))
    assert values(collect(replace(SEEN, limits=limits))["socket_ephemeral_ports_limit"]) == {(): 0}


def test_without_a_range_nothing_is_said() -> None:
    assert not [name for name in collect(replace(SEEN, limits=SysctlLimits())) if "ephemeral" in name]


def test_without_a_count_of_bound_ports_the_rest_stands() -> None:
    families = collect(replace(SEEN, ports_on_one_address=None))
    assert "socket_ephemeral_ports_bound" not in families
    assert values(families[f"{USED}_max"]) == {(): 28}
