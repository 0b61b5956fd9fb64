"""From one look at the host to the text that Prometheus reads."""

from __future__ import annotations

import re
import subprocess
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest
from prometheus_client import generate_latest
from prometheus_client.core import Metric

from exporter.analysis.fold import Limits
from exporter.exposition import metrics
from exporter.exposition.collector import Settings, SocketCollector
from exporter.exposition.observer import LISTENERS, OWNERS, STATES, Observation
from exporter.model import (
    CLOSE_WAIT,
    ESTABLISHED,
    LISTEN,
    SYN_SENT,
    TIME_WAIT,
    Direction,
    Group,
    Listener,
    ProcessId,
    Unowned,
)

from ..tools import require

GOLDEN: Final = Path(__file__).parent.parent / "golden" / "metrics.prom"
VOLATILE: Final = re.compile(r'(python|version)="[^"]*"')

PRINTD = ProcessId(10, 1.0)
NGINX = ProcessId(20, 1.0)
NGINX_WORKER = ProcessId(21, 1.0)

LISTENING = [
    (Listener(bytes(4), 631, 1, 3, 128), PRINTD),
    (Listener(bytes(4), 80, 2, 0, 511), NGINX),
    (Listener(bytes(16), 80, 3, 7, 511), NGINX_WORKER),
    (Listener(bytes(4), 22, 4, 0, 128), Unowned.NOT_FOUND),
]

GROUPS = Counter(
    {
        Group(ESTABLISHED, PRINTD, Direction.INBOUND, 631): 12,
        Group(CLOSE_WAIT, PRINTD, Direction.INBOUND, 631): 412,
        Group(ESTABLISHED, NGINX, Direction.INBOUND, 80): 30,
        Group(ESTABLISHED, NGINX_WORKER, Direction.INBOUND, 80): 40,
        Group(ESTABLISHED, NGINX_WORKER, Direction.OUTBOUND, 5432): 8,
        Group(SYN_SENT, NGINX_WORKER, Direction.OUTBOUND, 8080): 1,
        Group(TIME_WAIT, NGINX, Direction.INBOUND, 80): 90,
        Group(TIME_WAIT, Unowned.RELEASED, Direction.OUTBOUND, 443): 17,
        Group(ESTABLISHED, Unowned.NOT_FOUND, Direction.INBOUND, 22): 2,
    }
)
GROUPS.update(Group(LISTEN, owner, Direction.NONE, listener.local_port) for listener, owner in LISTENING)

SEEN = Observation(
    groups=GROUPS,
    listeners=LISTENING,
    names={PRINTD: "printd", NGINX: "nginx", NGINX_WORKER: "nginx"},
    unreadable={"permission": 4},
    not_found_because="unreadable",
    seconds={STATES: 0.002, LISTENERS: 0.001, OWNERS: 0.003},
    failed=frozenset(),
)

ALL = Settings(Limits(100, 50, 2_000))


def collect(seen: Observation = SEEN, settings: Settings = ALL) -> dict[str, Metric]:
    collector = SocketCollector(lambda: seen, settings, "netlink")
    return {family.name: family for family in collector.collect()}


def values(family: Metric) -> dict[tuple[str, ...], float]:
    return {tuple(sample.labels.values()): sample.value for sample in family.samples}


def text(seen: Observation = SEEN) -> str:
    collector = SocketCollector(lambda: seen, ALL, "netlink")
    return VOLATILE.sub(r'\1="VOLATILE"', generate_latest(collector).decode())  # type: ignore[arg-type]


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


def test_every_family_of_the_table_is_described_and_collected() -> None:
    names = {gauge.name for gauge in metrics.TABLE}
    described = {family.name for family in SocketCollector(lambda: SEEN, ALL, "netlink").describe()}
    assert names == described == set(collect())


def test_every_family_has_the_labels_of_the_table() -> None:
    families = collect()
    for gauge in metrics.TABLE:
        for sample in families[gauge.name].samples:
            assert set(sample.labels) == set(gauge.labels), gauge.name


def test_states_add_up_to_the_host_states() -> None:
    families = collect(settings=Settings(Limits(0, 0, 11)))
    sums: Counter[str] = Counter()
    for sample in families["socket_states"].samples:
        sums[sample.labels["state"]] += int(sample.value)
    host = {state: value for (state,), value in values(families["socket_host_states"]).items() if value}
    assert host == sums


def test_all_eleven_states_are_there_zeros_included() -> None:
    host = values(collect()["socket_host_states"])
    assert (11, 0.0, 412.0) == (len(host), host["closing",], host["close_wait",])


def test_processes_of_one_name_are_counted_together() -> None:
    assert values(collect()["socket_states"])["established", "nginx", "inbound"] == 70


def test_the_fullest_accept_queue_of_a_port_is_shown() -> None:
    families = collect()
    assert values(families["socket_listener_accept_queue_length"])["nginx", "80"] == 7
    assert values(families["socket_listener_accept_queue_limit"])["nginx", "80"] == 511


def test_sockets_without_an_owner_are_counted_by_reason() -> None:
    assert values(collect()["socket_exporter_unowned_sockets"]) == {
        ("released",): 17,
        ("unreadable",): 3,
        ("hidden",): 0,
        ("not_found",): 0,
        ("disabled",): 0,
    }


def test_without_states_the_rest_stands() -> None:
    families = collect(replace(SEEN, groups=None, failed=frozenset({STATES})))
    assert not {"socket_states", "socket_host_states", "socket_listener_states"} & families.keys()
    assert values(families["socket_scrape_collector_success"]) == {
        (LISTENERS,): 1,
        (OWNERS,): 1,
        (STATES,): 0,
    }
    assert values(families["socket_listener_accept_queue_length"])["printd", "631"] == 3


def test_without_listeners_their_state_is_not_said_to_be_zero() -> None:
    groups = Counter({group: count for group, count in GROUPS.items() if group.state != LISTEN})
    families = collect(replace(SEEN, groups=groups, listeners=None, failed=frozenset({LISTENERS})))
    assert "listen" not in {state for (state,) in values(families["socket_host_states"])}
    assert "socket_listener_accept_queue_length" not in families


def test_what_is_switched_off_is_left_out() -> None:
    families = collect(settings=Settings(ALL.limits, frozenset({STATES})))
    assert not {name for name in families if name.startswith("socket_listener")}
    assert values(families["socket_scrape_collector_success"]) == {(STATES,): 1}


def test_what_is_folded_is_said() -> None:
    folded = values(collect(settings=Settings(Limits(1, 1, 2_000)))["socket_exporter_folded_series"])
    assert folded["socket_states", "process"] == 1
    assert folded["socket_states", "remote_port"] == 2


def test_more_accept_queues_than_series_are_bounded_keeping_the_fullest() -> None:
    many = [(Listener(bytes(4), port, port, port % 50, 50), PRINTD) for port in range(1, 101)]
    lengths = values(
        collect(replace(SEEN, listeners=many), Settings(Limits(10, 10, 20)))[
            "socket_listener_accept_queue_length"
        ]
    )
    assert len(lengths) == 20
    assert lengths["printd", "49"] == 49
    assert ("other", "other") in lengths


@pytest.mark.parametrize("gauge", metrics.TABLE, ids=lambda gauge: gauge.name)
def test_names_and_helps_are_fit_to_be_read(gauge: metrics.Gauge) -> None:
    assert re.fullmatch(r"socket_[a-z_]+(?<!_count)(?<!_total)", gauge.name)
    assert gauge.help.endswith(".")
