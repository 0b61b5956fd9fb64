"""What could not be seen is said, with what to do about it; what could be is not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from exporter.exposition.blind_spots import blind_spots
from exporter.model.collectors import CollectorName
from exporter.model.host import KernelCounters, SysctlLimits
from exporter.model.process import Unowned
from exporter.model.snapshot import Snapshot
from exporter.model.sockets import ESTABLISHED, TIME_WAIT

from .looks import APP, QUIET, calls, listens, look, serves, stuck

HELD = serves(ESTABLISHED, 17, owner=Unowned.NOT_FOUND)


def told(seen: Snapshot) -> str:
    return " ".join(f"{what} {remedy}" for what, remedy in blind_spots(seen))


@pytest.mark.parametrize(
    "seen",
    [
        QUIET,
        look(stuck(3), calls(TIME_WAIT, 9_000, owner=Unowned.RELEASED), listeners=[listens(0, 5)]),
        # Nothing is lost by what nobody asks about.
        look(unreadable={"permission": 30, "vanished": 2}, not_found_because="unreadable"),
        look(limits=replace(SysctlLimits(), ephemeral=QUIET.limits.ephemeral if QUIET.limits else None)),
        look(calls(ESTABLISHED, 1), descriptors={APP: (3, None)}),
    ],
)
def test_where_all_could_be_seen_nothing_is_said(seen: Snapshot) -> None:
    assert told(seen) == ""


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        ("unreadable", ["may not look into", "CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH", "root"]),
        ("hidden", ["hidepid", "gid="]),
        ("not_found", ["another container", "--pid=host"]),
        ("disabled", ["were not looked for", "--no-collector.owners"]),
    ],
)
def test_sockets_without_an_owner_by_reason(reason: str, words: list[str]) -> None:
    text = told(look(HELD, not_found_because=reason))
    assert text.startswith("17 sockets are held by ")
    for word in words:
        assert word in text


@pytest.mark.parametrize(
    "part",
    [
        CollectorName.STATES,
        CollectorName.LISTENERS,
        CollectorName.OWNERS,
        CollectorName.CLOSE_WAIT,
        CollectorName.EPHEMERAL,
        CollectorName.DESCRIPTORS,
        CollectorName.LIMITS,
    ],
)
def test_a_part_that_failed(part: str) -> None:
    (spot,) = blind_spots(
        look(HELD if part == CollectorName.OWNERS else calls(ESTABLISHED, 1), failed=frozenset({part}))
    )
    assert spot.what.startswith("Could not be read: ")
    assert spot.remedy == "The log says why."


def test_what_the_limits_lack_is_told_with_its_files() -> None:
    seen = look(
        limits=SysctlLimits(errors=("tcp_max_orphans: no number",)),
        counters=KernelCounters(errors=("netstat: garbled",)),
        failed=frozenset({CollectorName.LIMITS}),
    )
    assert told(seen).endswith("tcp_max_orphans: no number; netstat: garbled.")


def test_psutil_gives_neither_causes_nor_queue_lengths() -> None:
    assert told(look(source="psutil")).startswith("Why connections stay in CLOSE_WAIT")


def test_a_range_of_ports_that_is_not_known() -> None:
    assert "netsh int ipv4 show dynamicport tcp" in told(look(limits=SysctlLimits()))


def test_descriptors_that_cannot_be_read_anywhere() -> None:
    assert "limit of file descriptors" in told(look(descriptors={}))


@pytest.mark.parametrize(
    "part", [CollectorName.CLOSE_WAIT, CollectorName.EPHEMERAL, CollectorName.DESCRIPTORS]
)
def test_a_part_that_is_switched_off(part: str) -> None:
    seconds = {name: 0.0 for name in QUIET.seconds if name != part}
    assert f"--no-collector.{part}" in told(look(calls(ESTABLISHED, 1), seconds=seconds))
