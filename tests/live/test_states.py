"""Sockets in all eleven states, IPv4 and IPv6: `ss`, the sockets that were made, and the exporter agree."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable
from itertools import chain

import pytest

from exporter.model.sockets import STATE_NAMES, Listener, Socket
from exporter.netlink.source import NetlinkSource

from ..oracle import Row
from ..tools import require
from .conftest import Held
from .helpers import UNPRIVILEGED, Scrape, scrape, ss_rows, totals
from .namespace import missing
from .states import STATES, Expected

pytestmark = [pytest.mark.live, require("ip", "nft", "ss")]

SS_STATES = [state for state in STATES if state != "close"]
"""`ss` of 2023 does not list bound sockets, which are in close: for these the reference is what was made."""


@pytest.fixture(scope="module")
def scraped(held: Held) -> Scrape:
    return scrape(held.namespace)


@pytest.fixture(scope="module")
def unprivileged(held: Held) -> Scrape:
    if reason := missing("setpriv"):
        pytest.skip(reason)
    trial = [*UNPRIVILEGED, sys.executable, "-P", "-c", "import prometheus_client"]
    if held.namespace.run(trial, check=False).returncode:
        pytest.skip(f"needs a Python that all users can read, not {sys.executable}")
    return scrape(held.namespace, through=UNPRIVILEGED)


def in_family(expected: Iterable[Expected], family: str) -> list[Expected]:
    return [row for row in expected if row.family == family]


def remote_port(row: Expected) -> str:
    return {"inbound": "inbound", "outbound": str(row.port), "none": "none"}[row.direction]


def owned_states(expected: Iterable[Expected]) -> Counter[tuple[str, ...]]:
    """Return the expected series of socket_states."""
    counts: Counter[tuple[str, ...]] = Counter()
    for row in expected:
        counts[row.state, row.process, remote_port(row)] += row.sockets
    return counts


@pytest.mark.parametrize("family", ["ipv4", "ipv6"])
def test_expected_counts_of_all_states_differ(held: Held, family: str) -> None:
    for rows in (held.expected, in_family(held.expected, family)):
        counts = totals(rows)
        assert set(counts) == set(STATES)
        assert len(set(counts.values())) == len(STATES), counts


@pytest.mark.parametrize("state", SS_STATES)
def test_ss_agrees_with_the_expected_counts(held: Held, state: str) -> None:
    by_family = Counter(row.family for row in ss_rows(held.namespace, state))
    made = {family: totals(in_family(held.expected, family))[state] for family in ("ipv4", "ipv6")}
    assert by_family == made


def kernel_sockets() -> tuple[list[Socket], list[Listener]]:
    source = NetlinkSource()
    sockets = [
        socket
        for batch in chain(source.full_sockets(), source.minisocks())
        for socket in batch.select(range(len(batch.keys)))
    ]
    return sockets, source.listeners()


def test_every_socket_equals_that_of_ss(held: Held) -> None:
    sockets, listeners = held.namespace.call(kernel_sockets)
    rows = ss_rows(held.namespace)
    assert Counter(_identity(row) for row in rows if row.state not in ("listen", "close")) == Counter(
        (STATE_NAMES[socket.state], *socket[1:5])
        for socket in sockets
        if STATE_NAMES[socket.state] != "close"
    )
    assert Counter(
        (row.local_address, row.local_port, row.receive_queue_bytes, row.send_queue_bytes)
        for row in rows
        if row.state == "listen"
    ) == Counter(
        (listener.local_address, listener.local_port, listener.queue_length, listener.queue_limit)
        for listener in listeners
    )


def _identity(row: Row) -> tuple[str, bytes, int, bytes, int]:
    return row.state, row.local_address, row.local_port, row.remote_address, row.remote_port


@pytest.mark.parametrize("family", ["ipv4", "ipv6"])
def test_mapped_sockets_are_ipv4(held: Held, family: str) -> None:
    sockets, listeners = held.namespace.call(kernel_sockets)
    size = 4 if family == "ipv4" else 16
    counts = Counter(STATE_NAMES[socket.state] for socket in sockets if len(socket.local_address) == size)
    counts["listen"] = sum(len(listener.local_address) == size for listener in listeners)
    assert counts == totals(in_family(held.expected, family))


@pytest.mark.parametrize("state", STATES)
def test_host_total_of_each_state(held: Held, scraped: Scrape, state: str) -> None:
    assert scraped.states()[state] == totals(held.expected)[state]


@pytest.mark.parametrize("state", STATES)
def test_series_of_a_state_add_up_to_its_host_total(scraped: Scrape, state: str) -> None:
    assert scraped.by("socket_states", "state")[(state,)] == scraped.states()[state]


def test_series_by_state_process_and_remote_port(held: Held, scraped: Scrape) -> None:
    assert scraped.by("socket_states", "state", "process", "remote_port") == owned_states(held.expected)


def test_inbound_sockets_by_local_port(held: Held, scraped: Scrape) -> None:
    expected: Counter[tuple[str, ...]] = Counter()
    for row in held.expected:
        if row.direction == "inbound":
            expected[row.state, row.process, str(row.port)] += row.sockets
    assert scraped.by("socket_listener_states", "state", "process", "local_port") == expected


def test_accept_queues_equal_those_of_ss(held: Held, scraped: Scrape) -> None:
    rows = [row for row in ss_rows(held.namespace) if row.state == "listen"]
    lengths = Counter({(str(row.local_port),): row.receive_queue_bytes for row in rows})
    assert scraped.by("socket_listener_accept_queue_length", "local_port") == +lengths
    limits = Counter({(str(row.local_port),): row.send_queue_bytes for row in rows})
    assert scraped.by("socket_listener_accept_queue_limit", "local_port") == limits


def test_nothing_is_aggregated_and_no_collector_failed(scraped: Scrape) -> None:
    assert not scraped.by("socket_exporter_aggregated_label_values", "family")
    assert {sample.value for sample in scraped.samples["socket_scrape_collector_success"]} == {1}


@pytest.mark.parametrize("state", STATES)
def test_all_sockets_are_counted_without_privileges(held: Held, unprivileged: Scrape, state: str) -> None:
    assert unprivileged.states()[state] == totals(held.expected)[state]


def test_ports_but_no_processes_are_known_without_privileges(held: Held, unprivileged: Scrape) -> None:
    anonymous = owned_states(row._replace(process="unknown") for row in held.expected)
    assert unprivileged.by("socket_states", "state", "process", "remote_port") == anonymous
