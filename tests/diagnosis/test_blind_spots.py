"""Blind spots: data that could not be read."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from exporter.diagnosis.blind_spots import find_blind_spots
from exporter.diagnosis.finding import DiagnosisInput
from exporter.model.collectors import CollectorName
from exporter.model.host import KernelCounters, SysctlLimits
from exporter.model.privilege import Privilege
from exporter.model.process import Unowned
from exporter.model.snapshot import Snapshot
from exporter.model.sockets import ESTABLISHED, TIME_WAIT

from ..snapshots import APP, QUIET, close_wait, inbound, listener, make_snapshot, outbound

HELD = inbound(ESTABLISHED, 17, owner=Unowned.NOT_FOUND)


def text_of(snapshot: Snapshot, **options: Any) -> str:
    spots = find_blind_spots(DiagnosisInput(snapshot, **options))
    return " ".join(f"{description} {remedy}".strip() for description, remedy in spots)


@pytest.mark.parametrize(
    "snapshot",
    [
        QUIET,
        make_snapshot(
            close_wait(3), outbound(TIME_WAIT, 9_000, owner=Unowned.RELEASED), listeners=[listener(0, 5)]
        ),
        # Unreadable processes are no blind spot unless sockets lack an owner.
        make_snapshot(unreadable_processes={"permission": 30, "vanished": 2}, unresolved_reason="unreadable"),
        make_snapshot(
            limits=replace(SysctlLimits(), ephemeral=QUIET.limits.ephemeral if QUIET.limits else None)
        ),
        make_snapshot(outbound(ESTABLISHED, 1), fd_usage={APP: (3, None)}),
    ],
)
def test_no_blind_spots_if_everything_was_read(snapshot: Snapshot) -> None:
    assert text_of(snapshot) == ""


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        ("unreadable", ["not permitted to inspect", "CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH", "root"]),
        ("hidden", ["hidepid", "gid="]),
        (
            "not_found",
            ["another container", "--pid=host", "kernel itself (NFS", "io_uring", "SCM_RIGHTS", "look again"],
        ),
        ("disabled", ["were not looked up", "--no-collector.owners"]),
    ],
)
def test_unowned_sockets_by_reason(reason: str, words: list[str]) -> None:
    text = text_of(make_snapshot(HELD, unresolved_reason=reason))
    assert text.startswith("17 sockets are held by ")
    for word in words:
        assert word in text


def test_dead_descriptors_of_unreadable_processes_are_unknown() -> None:
    snapshot = make_snapshot(dead_fds=[], unreadable_processes={"permission": 30, "vanished": 2})
    assert text_of(snapshot).startswith(
        "The dead file descriptors of 30 processes are unknown: this user is not permitted to inspect them. "
        "Run it as root"
    )
    assert "Run it as root" not in text_of(snapshot, privilege=Privilege.FULL)
    # Named once, with the sockets.
    snapshot = make_snapshot(HELD, dead_fds=[], unreadable_processes={"permission": 30})
    assert "dead file descriptors" not in text_of(replace(snapshot, unresolved_reason="unreadable"))


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
def test_failed_collector(part: str) -> None:
    sockets = HELD if part == CollectorName.OWNERS else outbound(ESTABLISHED, 1)
    (spot,) = find_blind_spots(DiagnosisInput(make_snapshot(sockets, failed=frozenset({part}))))
    assert spot.description.startswith("Could not be read: ")
    assert spot.remedy == "See the log for the reason."


def test_unreadable_limits_are_named() -> None:
    snapshot = make_snapshot(
        limits=SysctlLimits(errors=("tcp_max_orphans: no number",)),
        counters=KernelCounters(errors=("netstat: garbled",)),
        failed=frozenset({CollectorName.LIMITS}),
    )
    assert text_of(snapshot).endswith("tcp_max_orphans: no number; netstat: garbled.")


def test_psutil_gives_neither_causes_nor_queue_lengths() -> None:
    assert text_of(make_snapshot(source="psutil")).startswith("The causes of CLOSE_WAIT")
    assert "--source=netlink" in text_of(make_snapshot(source="psutil"))
    assert "Linux" not in text_of(make_snapshot(source="psutil"), windows=True)


@pytest.mark.parametrize("reason", ["unreadable", "hidden"])
def test_root_is_not_told_to_become_root(reason: str) -> None:
    snapshot = make_snapshot(HELD, unresolved_reason=reason)
    assert "Run it as root" in text_of(snapshot)
    for privilege in (Privilege.FULL, Privilege.ROOT_WITHOUT_CAPABILITIES):
        assert "Run it as root" not in text_of(snapshot, privilege=privilege)
    assert "--cap-add" in text_of(snapshot, privilege=Privilege.ROOT_WITHOUT_CAPABILITIES)
    assert "It has the capabilities" in text_of(snapshot, privilege=Privilege.FULL)


def test_on_windows_the_privilege_is_that_of_an_administrator() -> None:
    snapshot = make_snapshot(HELD, unresolved_reason="unreadable")
    assert text_of(snapshot, windows=True).endswith("Run it as administrator.")
    assert "Run it" not in text_of(snapshot, windows=True, privilege=Privilege.FULL)


def test_unknown_range_of_ports() -> None:
    snapshot = make_snapshot(limits=SysctlLimits())
    assert "netsh int ipv4 show dynamicport tcp" in text_of(snapshot, windows=True)
    assert "Windows" not in text_of(snapshot)
    assert "netsh" not in text_of(snapshot)


def test_descriptors_unsupported_by_the_system() -> None:
    assert "usage of file descriptors is unknown" in text_of(make_snapshot(fd_usage={}))


@pytest.mark.parametrize(
    "part", [CollectorName.CLOSE_WAIT, CollectorName.EPHEMERAL, CollectorName.DESCRIPTORS]
)
def test_disabled_collector(part: str) -> None:
    seconds = {name: 0.0 for name in QUIET.durations if name != part}
    assert f"--no-collector.{part}" in text_of(make_snapshot(outbound(ESTABLISHED, 1), durations=seconds))
