"""Dead file descriptors: numbers by process and connection, and histograms of ages."""

from __future__ import annotations

from dataclasses import replace

from exporter.model.collectors import CollectorName
from exporter.model.dead_fds import DeadFd

from ..snapshots import BUSY, NGINX, NGINX_WORKER, PRINTD
from .families import ALL, collect, values

NAMES = {"socket_dead_fds", "socket_dead_fds_age_seconds", "socket_dead_fds_oldest_age_seconds"}

SNAPSHOT = replace(
    BUSY,
    dead_fds=[
        DeadFd(PRINTD, was_connected=True, age_seconds=9.0),
        DeadFd(NGINX, was_connected=True, age_seconds=60.0),
        DeadFd(NGINX_WORKER, was_connected=True, age_seconds=0.25),
        DeadFd(NGINX, was_connected=False, age_seconds=20_000.0),
    ],
)


def test_number_by_process_name_and_connection() -> None:
    assert values(collect(SNAPSHOT)["socket_dead_fds"]) == {
        ("printd", "lost"): 1,
        ("nginx", "lost"): 2,
        ("nginx", "unknown"): 1,
    }


def test_ages_by_process_name() -> None:
    families = collect(SNAPSHOT)
    assert values(families["socket_dead_fds_oldest_age_seconds"]) == {("printd",): 9.0, ("nginx",): 20_000.0}
    ages = families["socket_dead_fds_age_seconds"].samples
    assert [sample.value for sample in ages if sample.labels.get("process") == "nginx"] == [
        *(1, 1, 2, 2, 2, 2, 2, 3),
        *(3, 20_060.25),
    ]
    bounds = [sample.labels["le"] for sample in ages if "le" in sample.labels]
    assert bounds[:8] == ["1.0", "10.0", "60.0", "300.0", "900.0", "3600.0", "14400.0", "+Inf"]


def test_processes_beyond_the_limit_are_aggregated() -> None:
    families = collect(SNAPSHOT, replace(ALL, max_processes=1))
    assert values(families["socket_dead_fds"]) == {
        ("nginx", "lost"): 2,
        ("nginx", "unknown"): 1,
        ("other", "lost"): 1,
    }
    assert values(families["socket_dead_fds_oldest_age_seconds"]) == {("nginx",): 20_000.0, ("other",): 9.0}
    aggregated = values(families["socket_exporter_aggregated_label_values"])
    assert aggregated["socket_dead_fds", "process"] == 1


def test_process_without_dead_fds_has_no_series() -> None:
    families = collect(replace(BUSY, dead_fds=[]))
    assert [families[name].samples for name in sorted(NAMES)] == [[], [], []]


def test_absent_if_not_read() -> None:
    assert not NAMES & collect(replace(BUSY, dead_fds=None)).keys()


def test_absent_if_collector_is_disabled() -> None:
    enabled = frozenset(CollectorName) - {CollectorName.DESCRIPTORS}
    assert not NAMES & collect(SNAPSHOT, collectors=enabled).keys()
