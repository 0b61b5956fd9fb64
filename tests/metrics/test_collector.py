"""From a snapshot of the host to the text that Prometheus reads."""

from __future__ import annotations

import re
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Final

from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from exporter.metrics import catalog
from exporter.metrics.collector import SocketCollector
from exporter.metrics.spec import CounterSpec, GaugeHistogramSpec, GaugeSpec
from exporter.model.collectors import CollectorName
from exporter.model.snapshot import Snapshot
from exporter.model.sockets import LISTEN

from ..snapshots import BUSY, BUSY_GROUPS
from ..tools import require
from .families import ALL, collect, names_of, values

GOLDEN: Final = Path(__file__).parent.parent / "golden" / "metrics.prom"
VOLATILE: Final = re.compile(r'(python|version)="[^"]*"')


def text(snapshot: Snapshot = BUSY) -> str:
    collector = SocketCollector(lambda: snapshot, ALL, "netlink")
    return VOLATILE.sub(r'\1="VOLATILE"', generate_latest(collector).decode())


def test_golden_output(update_golden: bool) -> None:
    if update_golden:
        GOLDEN.write_text(text())
    assert GOLDEN.read_text() == text()


@require("promtool")
def test_promtool_accepts_the_golden_output() -> None:
    checked = subprocess.run(
        ["promtool", "check", "metrics"], input=GOLDEN.read_bytes(), capture_output=True, check=False
    )
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, b"")


def test_every_metric_has_samples_in_the_golden_output() -> None:
    named = {family.name for family in text_string_to_metric_families(GOLDEN.read_text()) if family.samples}
    assert named >= {spec.name for spec in catalog.METRICS}


def test_every_metric_is_described_and_collected() -> None:
    names = {spec.name for spec in catalog.METRICS}
    described = {family.name for family in SocketCollector(lambda: BUSY, ALL, "netlink").describe()}
    assert names == described == set(collect())


def test_every_family_has_the_type_and_labels_of_its_spec() -> None:
    types = {GaugeSpec: "gauge", CounterSpec: "counter", GaugeHistogramSpec: "gaugehistogram"}
    families = collect()
    for spec in catalog.METRICS:
        assert families[spec.name].type == types[type(spec)]
        for sample in families[spec.name].samples:
            assert set(sample.labels) - {"le"} == set(spec.labels), spec.name


def test_no_addresses_unless_their_collector_is_enabled() -> None:
    assert "socket_ephemeral_ports_used" not in collect(collectors=frozenset({CollectorName.EPHEMERAL}))
    assert "socket_ephemeral_ports_used" in collect(
        collectors=frozenset({CollectorName.EPHEMERAL, CollectorName.EPHEMERAL_ADDRESSES})
    )


def test_other_collectors_when_states_failed() -> None:
    families = collect(replace(BUSY, groups=None, queue_bytes=None, failed=frozenset({CollectorName.STATES})))
    gone = {
        *names_of(CollectorName.STATES, CollectorName.TIME_WAIT, CollectorName.QUEUES),
        *names_of(CollectorName.EPHEMERAL, CollectorName.EPHEMERAL_ADDRESSES),
        "socket_listener_states",
    }
    assert set(families) == {spec.name for spec in catalog.METRICS} - gone
    success = values(families["socket_scrape_collector_success"])
    assert success == {(part,): int(part != CollectorName.STATES) for part in BUSY.durations}


def test_listen_is_absent_when_listeners_failed() -> None:
    groups = {group: count for group, count in BUSY_GROUPS.items() if group.state != LISTEN}
    families = collect(
        replace(BUSY, groups=groups, listeners=None, failed=frozenset({CollectorName.LISTENERS}))
    )
    assert "listen" not in {state for (state,) in values(families["socket_host_states"])}
    assert "socket_listener_accept_queue_length" not in families
    assert "socket_ephemeral_ports_limit" not in families


def test_no_close_wait_metrics_when_it_was_not_read() -> None:
    assert not names_of(CollectorName.CLOSE_WAIT) & collect(replace(BUSY, close_wait=None)).keys()


def test_no_limits_when_they_were_not_read() -> None:
    families = collect(replace(BUSY, limits=None, counters=None))
    assert (
        not names_of(CollectorName.LIMITS, CollectorName.EPHEMERAL, CollectorName.EPHEMERAL_ADDRESSES)
        & families.keys()
    )


def test_no_scrape_metrics_of_disabled_collectors() -> None:
    families = collect(collectors=frozenset({CollectorName.STATES}))
    assert values(families["socket_scrape_collector_success"]) == {(CollectorName.STATES,): 1}
    assert values(families["socket_scrape_collector_duration_seconds"]) == {(CollectorName.STATES,): 0.001}
