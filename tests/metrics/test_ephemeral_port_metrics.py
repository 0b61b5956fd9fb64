"""Ephemeral ports by destination and by local address, and the limits."""

from __future__ import annotations

from dataclasses import replace
from socket import AF_INET6, inet_aton, inet_pton

import pytest

from exporter.model.groups import AddressPair, Direction, SocketGroup
from exporter.model.host import EphemeralRange, SysctlLimits
from exporter.model.process import Unowned
from exporter.model.snapshot import Snapshot
from exporter.model.sockets import ESTABLISHED

from ..snapshots import BUSY
from .families import collect, values

HERE = inet_aton("10.0.0.1")
USED = "socket_ephemeral_ports_used"


def connections_to(ports_by_destination: dict[str, int]) -> Snapshot:
    """A host with this number of connections to port 443 of each address."""
    groups = {}
    for address, ports in ports_by_destination.items():
        remote = inet_pton(AF_INET6, address) if ":" in address else inet_aton(address)
        path = AddressPair(HERE, remote, ephemeral=True)
        groups[SocketGroup(ESTABLISHED, Unowned.NOT_FOUND, Direction.OUTBOUND, 443, path)] = ports
    return replace(BUSY, groups=groups)


def test_series_of_the_10_destinations_with_most_ports() -> None:
    families = collect(connections_to({f"10.0.1.{number}": number for number in range(1, 31)}))
    named = values(families[USED])
    assert len(named) == 10
    assert named["10.0.1.30", "443"] == 30
    assert ("10.0.1.20", "443") not in named
    assert values(families[f"{USED}_max"]) == {(): 30}


@pytest.mark.parametrize("address", ["10.0.1.1", "fd00::1", "::1"])
def test_text_of_addresses(address: str) -> None:
    assert values(collect(connections_to({address: 2}))[USED]) == {(address, "443"): 2}


def test_maximum_is_0_without_destinations() -> None:
    families = collect(connections_to({}))
    assert not families[USED].samples
    assert values(families[f"{USED}_max"]) == {(): 0}


def test_limit_excludes_reserved_listening_and_bound_ports() -> None:
    """The range has 10,000 ports: 40500 is reserved, 40000 listened on and 40001 bound."""
    assert values(collect()["socket_ephemeral_ports_limit"]) == {(): 9_997}


def test_limit_is_0_when_all_ports_are_bound() -> None:
    limits = SysctlLimits(ephemeral=EphemeralRange(40_000, 40_001))
    assert values(collect(replace(BUSY, limits=limits))["socket_ephemeral_ports_limit"]) == {(): 0}


def test_no_metrics_without_a_range() -> None:
    assert not [name for name in collect(replace(BUSY, limits=SysctlLimits())) if "ephemeral" in name]


def test_other_metrics_without_a_count_of_bound_ports() -> None:
    families = collect(replace(BUSY, max_bound_ports=None))
    assert "socket_ephemeral_ports_bound" not in families
    assert values(families[f"{USED}_max"]) == {(): 28}
