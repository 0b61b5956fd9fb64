"""Netlink and psutil report the same for the same sockets."""

from __future__ import annotations

from collections import Counter
from itertools import chain

import pytest

from exporter.model.sockets import STATE_NAMES, Socket
from exporter.netlink.source import NetlinkSource
from exporter.portable.psutil_source import PsutilSource

from ..tools import require
from .conftest import Held
from .helpers import Scrape, scrape
from .states import STATES

pytestmark = [pytest.mark.live, require("ip", "nft", "ss")]

SHARED = [state for state in STATES if state != "close"]
"""/proc/net/tcp, which psutil reads, does not have bound sockets."""


@pytest.fixture(scope="module")
def netlink(held: Held) -> Scrape:
    return scrape(held.namespace, "--source=netlink")


@pytest.fixture(scope="module")
def psutil(held: Held) -> Scrape:
    return scrape(held.namespace, "--source=psutil")


def rows_of(source: NetlinkSource | PsutilSource) -> Counter[tuple[object, ...]]:
    """Return state, addresses and ports of each socket."""
    sockets: list[Socket] = []
    for batch in chain(source.full_sockets(), source.minisocks()):
        sockets += batch.select(range(len(batch.keys)))
    listeners = [("listen", listener.local_address, listener.local_port) for listener in source.listeners()]
    connected = [(STATE_NAMES[socket.state], *socket[1:5]) for socket in sockets]
    return Counter([*listeners, *(row for row in connected if row[0] != "close")])


def test_both_read_the_same_sockets(held: Held) -> None:
    by_netlink = held.namespace.call(lambda: rows_of(NetlinkSource()))
    by_psutil = held.namespace.call(lambda: rows_of(PsutilSource()))
    assert by_netlink
    assert by_netlink == by_psutil


def test_build_info_has_the_source(netlink: Scrape, psutil: Scrape) -> None:
    for source, scraped in (("netlink", netlink), ("psutil", psutil)):
        assert scraped.by("socket_exporter_build_info", "source") == {(source,): 1}


@pytest.mark.parametrize("state", SHARED)
def test_host_totals_agree(netlink: Scrape, psutil: Scrape, state: str) -> None:
    assert netlink.states()[state] > 0
    assert netlink.states()[state] == psutil.states()[state]


@pytest.mark.parametrize("state", SHARED)
def test_processes_and_ports_agree(netlink: Scrape, psutil: Scrape, state: str) -> None:
    assert netlink.by("socket_states", "process", "remote_port", state=state) == psutil.by(
        "socket_states", "process", "remote_port", state=state
    )


@pytest.mark.parametrize("state", [state for state in SHARED if state != "listen"])
def test_inbound_sockets_agree(netlink: Scrape, psutil: Scrape, state: str) -> None:
    assert netlink.by("socket_listener_states", "process", "local_port", state=state) == psutil.by(
        "socket_listener_states", "process", "local_port", state=state
    )
