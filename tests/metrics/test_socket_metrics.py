"""Sockets by state, process and port, and sockets without an owner."""

from __future__ import annotations

from dataclasses import replace

from exporter.model.collectors import CollectorName

from ..snapshots import BUSY
from .families import collect, values


def test_all_eleven_states_including_zeros() -> None:
    host = values(collect()["socket_host_states"])
    assert (11, 0.0, 415.0) == (len(host), host["closing",], host["close_wait",])


def test_processes_of_one_name_share_a_series() -> None:
    assert values(collect()["socket_states"])["established", "nginx", "inbound"] == 70


def test_unowned_sockets_by_reason() -> None:
    assert values(collect()["socket_exporter_unowned_sockets"]) == {
        ("released",): 17,
        ("unreadable",): 3,
        ("hidden",): 0,
        ("not_found",): 0,
        ("disabled",): 0,
    }


def test_process_is_unknown_without_owners() -> None:
    families = collect(replace(BUSY, names={}, failed=frozenset({CollectorName.OWNERS})))
    for name in ("socket_states", "socket_listener_states", "socket_close_wait_sockets"):
        assert {sample.labels["process"] for sample in families[name].samples} == {"unknown"}
