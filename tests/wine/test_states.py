"""Sockets in all states, IPv4 and IPv6: `ss` and the exporter in Windows' Python agree."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from typing import Final, NamedTuple

import pytest

from ..live.helpers import Scrape, hold_states, ss_rows
from ..live.states import STATES
from ..oracle import Row
from .windows import Windows

pytestmark = pytest.mark.wine

SS_STATES: Final = [state for state in STATES if state != "close"]
"""Wine has no function for bound sockets: tests/windows has a stand-in."""

READ_SOCKETS: Final = """
import json
from exporter.model.sockets import LISTEN, STATE_NAMES
from exporter.windows.tcp_rows import TCP4_LAYOUT, TCP6_LAYOUT
from exporter.windows.tcp_table import TcpTableReader
rows = []
for layout in TCP4_LAYOUT, TCP6_LAYOUT:
    table = TcpTableReader(layout).read()
    for sock in table.sockets(range(len(table)), table.pids):
        remote = (sock.remote_address.hex(), sock.remote_port) if sock.state != LISTEN else ("", 0)
        rows.append((STATE_NAMES[sock.state], sock.local_address.hex(), sock.local_port, *remote))
print(json.dumps(rows))
"""


@pytest.fixture(scope="module")
def listed(windows: Windows) -> Iterator[list[Row]]:
    """Hold sockets in all states of IPv4, IPv6, and IPv4 clients of an IPv6 listener; yield those of `ss`."""
    windows.drop_sockets()
    with hold_states(windows.namespace):
        yield ss_rows(windows.namespace)


class Scraped(NamedTuple):
    """The output of `--once`."""

    source: str
    scrape: Scrape


@pytest.fixture(scope="module", params=["iphlpapi", "psutil"])
def scraped(request: pytest.FixtureRequest, windows: Windows, listed: list[Row]) -> Scraped:
    done = windows.python("-m", "exporter", "--once", f"--source={request.param}")
    # None of the sockets has changed meanwhile: TIME_WAIT lasts a minute.
    assert Counter(ss_rows(windows.namespace)) == Counter(listed)
    return Scraped(request.param, Scrape(done.stdout))


def test_every_socket_equals_that_of_ss(windows: Windows, listed: list[Row]) -> None:
    read = json.loads(windows.python("-c", READ_SOCKETS).stdout)
    assert Counter(map(tuple, read)) == Counter(map(_identity, listed))


def _identity(row: Row) -> tuple[str, str, int, str, int]:
    remote = ("", 0) if row.state == "listen" else (row.remote_address.hex(), row.remote_port)
    return row.state, row.local_address.hex(), row.local_port, *remote


@pytest.mark.parametrize("state", SS_STATES)
def test_host_total_of_each_state_equals_that_of_ss(listed: list[Row], scraped: Scraped, state: str) -> None:
    expected = sum(row.state == state for row in listed)
    assert expected > 0
    assert scraped.scrape.states()[state] == expected


@pytest.mark.parametrize("state", STATES)
def test_series_of_a_state_add_up_to_its_host_total(scraped: Scraped, state: str) -> None:
    assert scraped.scrape.by("socket_states", "state")[(state,)] == scraped.scrape.states()[state]


def test_no_collector_fails(scraped: Scraped) -> None:
    assert {sample.value for sample in scraped.scrape.samples["socket_scrape_collector_success"]} == {1}
    assert scraped.scrape.by("socket_exporter_build_info", "source") == {(scraped.source,): 1}
