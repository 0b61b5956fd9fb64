"""State that one exporter keeps from one scrape over HTTP to the next."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from ..running import running
from ..tools import require
from .helpers import Scrape
from .in_process import close_first, connect, serve, set_comm
from .namespace import Namespace

pytestmark = [pytest.mark.live, require("ip", "nft", "ss")]

SERVICE = 8001
RARE_SERVICE = 8002

TimeWait = tuple[Counter[tuple[str, ...]], Counter[tuple[str, ...]]]
"""TIME_WAIT sockets by process and remote port, and by attribution method."""


def time_wait(text: str) -> TimeWait:
    scrape = Scrape(text)
    methods = scrape.by("socket_time_wait_attribution", "method")
    assert methods.total() == scrape.states()["time_wait"]
    return scrape.by("socket_states", "process", "remote_port", state="time_wait"), methods


def churn(log: Path, source: str) -> tuple[TimeWait, TimeWait]:
    """Return the TIME_WAIT sockets before and after a connection to the second service is observed.

    The process keeps a connection to the first one, which it opens while the others enter TIME_WAIT.
    """
    set_comm("client")
    server, other = serve(SERVICE), serve(RARE_SERVICE)
    with running(log, f"--source={source}") as exporter:
        # The first scrape may share the collection that began with the exporter, before these connections.
        exporter.get()
        pairs = [connect(server) for _ in range(3)]
        exporter.get()
        for client, accepted in pairs:
            close_first(client, accepted)
        kept_open = connect(server)
        for _ in range(2):
            client, accepted = connect(server)
            close_first(accepted, client)
        close_first(*connect(other))
        before = time_wait(exporter.get())
        open_pair = connect(other)
        exporter.get()
        after = time_wait(exporter.get())
    assert open_pair
    assert kept_open
    return before, after


def time_wait_of_scrapes(owners: Counter[tuple[str, ...]]) -> int:
    """Count the TIME_WAIT of scrapes: the scraper keeps it if it closes before the exporter, which varies."""
    known = {"inbound", str(SERVICE), str(RARE_SERVICE)}
    return sum(
        number for (process, port), number in owners.items() if process == "client" and port not in known
    )


@pytest.mark.parametrize(("source", "method"), [("netlink", "observed"), ("psutil", "inferred")])
def test_owners_are_remembered_between_scrapes(
    source: str, method: str, namespace: Namespace, tmp_path: Path
) -> None:
    """Sockets of psutil have no identity, but the process that opens connections to the destination has."""
    (owners, methods), (owners_later, methods_later) = namespace.call(churn, tmp_path / "log", source)
    assert owners["client", "8001"] == 3
    assert owners["client", "inbound"] == 2
    assert owners["unknown", "8002"] == 1
    assert (methods[method,], methods["none",]) == (3 + time_wait_of_scrapes(owners), 1)
    assert owners_later["unknown", "8002"] == 1
    assert methods_later["none",] == 1
    assert methods_later.total() >= methods.total()
