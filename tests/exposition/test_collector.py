"""From one look at the host to the text that Prometheus reads."""

from __future__ import annotations

import re
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from exporter.exposition import metrics
from exporter.exposition.collector import SocketCollector
from exporter.exposition.kinds import Counter, Gauge, GaugeHistogram
from exporter.model.collectors import COLLECTOR_HELP, CollectorName
from exporter.model.snapshot import Snapshot
from exporter.model.sockets import LISTEN

from ..tools import require
from .seen import ALL, GROUPS, SEEN, collect, values

GOLDEN: Final = Path(__file__).parent.parent / "golden" / "metrics.prom"
VOLATILE: Final = re.compile(r'(python|version)="[^"]*"')

ALWAYS: Final = {gauge.name for gauge in metrics.TABLE if re.match("socket_(exporter|scrape)_", gauge.name)}
"""Families that are there whatever is switched off, of the exporter itself."""

OF_STATES: Final = {"socket_states", "socket_host_states", "socket_exporter_unowned_sockets"}
OF_PART: Final = {
    CollectorName.STATES: OF_STATES,
    CollectorName.LISTENERS: {
        name for name in (g.name for g in metrics.TABLE) if name.startswith("socket_listener")
    },
    CollectorName.CLOSE_WAIT: {
        name for name in (g.name for g in metrics.TABLE) if name.startswith("socket_close_wait")
    },
    CollectorName.TIME_WAIT: {"socket_time_wait_attribution"},
    CollectorName.EPHEMERAL: {
        "socket_ephemeral_ports_used",
        "socket_ephemeral_ports_used_max",
        "socket_ephemeral_ports_bound",
        "socket_ephemeral_ports_bound_limit",
        "socket_ephemeral_ports_limit",
    },
    CollectorName.DESCRIPTORS: {"socket_process_open_fds", "socket_process_worst_fd_ratio"},
    CollectorName.QUEUES: {"socket_receive_queue_bytes", "socket_send_queue_bytes"},
    CollectorName.LIMITS: {
        *(gauge.name for gauge in metrics.TABLE if gauge.name.startswith("socket_kernel")),
        *("socket_time_wait_limit", "socket_time_wait_duration_seconds", "socket_time_wait_reuse"),
        *("socket_orphans", "socket_orphans_limit", "socket_memory_bytes", "socket_memory_limit_bytes"),
    },
}
"""Part -> the families that it gives."""


def text(seen: Snapshot = SEEN) -> str:
    collector = SocketCollector(lambda: seen, ALL, "netlink")
    return VOLATILE.sub(r'\1="VOLATILE"', generate_latest(collector).decode())


def test_the_output_is_the_golden_one(update_golden: bool) -> None:
    if update_golden:
        GOLDEN.write_text(text())
    assert GOLDEN.read_text() == text()


@require("promtool")
def test_promtool_accepts_the_golden_output() -> None:
    checked = subprocess.run(
        ["promtool", "check", "metrics"], input=GOLDEN.read_bytes(), capture_output=True, check=False
    )
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, b"")


def test_every_family_has_samples_in_the_golden_output() -> None:
    named = {family.name for family in text_string_to_metric_families(GOLDEN.read_text()) if family.samples}
    assert named >= {gauge.name for gauge in metrics.TABLE}


def test_every_family_of_the_table_is_described_and_collected() -> None:
    names = {gauge.name for gauge in metrics.TABLE}
    described = {family.name for family in SocketCollector(lambda: SEEN, ALL, "netlink").describe()}
    assert names == described == set(collect())


def test_every_family_has_the_labels_and_the_kind_of_the_table() -> None:
    kinds = {Gauge: "gauge", Counter: "counter", GaugeHistogram: "gaugehistogram"}
    families = collect()
    for gauge in metrics.TABLE:
        assert families[gauge.name].type == kinds[type(gauge)]
        for sample in families[gauge.name].samples:
            assert set(sample.labels) - {"le"} == set(gauge.labels), gauge.name


def test_every_part_gives_its_families_alone() -> None:
    for part, names in OF_PART.items():
        parts = frozenset({part, CollectorName.EPHEMERAL_ADDRESSES})
        assert set(collect(parts=parts)) == names | ALWAYS - OF_STATES, part


def test_every_family_is_of_a_part_or_of_the_exporter() -> None:
    assert {name for names in OF_PART.values() for name in names} | ALWAYS == {g.name for g in metrics.TABLE}
    assert OF_PART.keys() | {CollectorName.OWNERS, CollectorName.EPHEMERAL_ADDRESSES} == COLLECTOR_HELP.keys()


def test_addresses_are_left_out_when_they_are_not_wanted() -> None:
    assert "socket_ephemeral_ports_used" not in collect(parts=frozenset({CollectorName.EPHEMERAL}))
    assert "socket_ephemeral_ports_used" in collect(
        parts=frozenset({CollectorName.EPHEMERAL, CollectorName.EPHEMERAL_ADDRESSES})
    )


def test_without_states_the_rest_stands() -> None:
    families = collect(replace(SEEN, groups=None, queues=None, failed=frozenset({CollectorName.STATES})))
    gone = {
        *OF_STATES,
        *OF_PART[CollectorName.EPHEMERAL],
        *OF_PART[CollectorName.QUEUES],
        *OF_PART[CollectorName.TIME_WAIT],
        "socket_listener_states",
    }
    assert set(families) == {gauge.name for gauge in metrics.TABLE} - gone
    success = values(families["socket_scrape_collector_success"])
    assert success == {(part,): int(part != CollectorName.STATES) for part in SEEN.seconds}


def test_without_listeners_their_state_is_not_said_to_be_zero() -> None:
    groups = {group: count for group, count in GROUPS.items() if group.state != LISTEN}
    families = collect(
        replace(SEEN, groups=groups, listeners=None, failed=frozenset({CollectorName.LISTENERS}))
    )
    assert "listen" not in {state for (state,) in values(families["socket_host_states"])}
    assert "socket_listener_accept_queue_length" not in families
    assert "socket_ephemeral_ports_limit" not in families


def test_without_close_wait_nothing_is_said_of_it() -> None:
    assert not OF_PART[CollectorName.CLOSE_WAIT] & collect(replace(SEEN, stuck=None)).keys()


def test_without_limits_nothing_is_compared_with_them() -> None:
    families = collect(replace(SEEN, limits=None, counters=None))
    assert not (OF_PART[CollectorName.LIMITS] | OF_PART[CollectorName.EPHEMERAL]) & families.keys()


def test_what_was_measured_but_is_not_wanted_is_not_told() -> None:
    families = collect(parts=frozenset({CollectorName.STATES}))
    assert values(families["socket_scrape_collector_success"]) == {(CollectorName.STATES,): 1}
    assert values(families["socket_scrape_collector_duration_seconds"]) == {(CollectorName.STATES,): 0.001}


@pytest.mark.parametrize("gauge", metrics.TABLE, ids=lambda gauge: gauge.name)
def test_names_and_helps_are_fit_to_be_read(gauge: Gauge) -> None:
    assert re.fullmatch(r"socket_[a-z_]+(?<!_count)(?<!_total)", gauge.name)
    assert gauge.help.endswith(".")
