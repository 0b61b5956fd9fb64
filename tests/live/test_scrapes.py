"""One exporter scraped over HTTP again and again: what it remembers from one scrape to the next."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from ..running import running
from ..tools import require
from .helpers import Scrape
from .looking import close_first, connect, serve, take_name
from .namespace import Namespace

pytestmark = [pytest.mark.live, require("ip", "nft", "ss")]

CALLED = 8001
BARELY_CALLED = 8002

Said = tuple[Counter[tuple[str, ...]], Counter[tuple[str, ...]]]
"""TIME_WAIT by process and remote port, and by how that was found."""


def said(text: str) -> Said:
    scrape = Scrape(text)
    methods = scrape.by("socket_time_wait_attribution", "method")
    assert methods.total() == scrape.states()["time_wait"]
    return scrape.by("socket_states", "process", "remote_port", state="time_wait"), methods


def churn(log: Path, source: str) -> tuple[Said, Said]:
    """What is said of TIME_WAIT before and after somebody is seen talking to the second service."""
    take_name("caller")
    server, other = serve(CALLED), serve(BARELY_CALLED)
    with running(log, f"--source={source}") as exporter:
        pairs = [connect(server) for _ in range(3)]
        exporter.get()
        for calling, accepted in pairs:
            close_first(calling, accepted)
        for _ in range(2):
            calling, accepted = connect(server)
            close_first(accepted, calling)
        close_first(*connect(other))
        before = said(exporter.get())
        lasting = connect(other)
        exporter.get()
        after = said(exporter.get())
    assert lasting
    return before, after


def left_by_scrapes(owners: Counter[tuple[str, ...]]) -> int:
    """A scraper that closes before the exporter does has the TIME_WAIT: who is first is a matter of luck."""
    known = {"inbound", str(CALLED), str(BARELY_CALLED)}
    return sum(
        number for (process, port), number in owners.items() if process == "caller" and port not in known
    )


@pytest.mark.parametrize(("source", "seen"), [("netlink", "observed"), ("psutil", "inferred")])
def test_a_later_scrape_knows_what_an_earlier_one_saw(
    source: str, seen: str, namespace: Namespace, tmp_path: Path
) -> None:
    """With psutil it cannot tell that it is the same socket, but knows who has talked there."""
    (owners, methods), (owners_later, methods_later) = namespace.call(churn, tmp_path / "log", source)
    assert owners["caller", "8001"] == 3
    assert owners["caller", "inbound"] == 2
    assert owners["unknown", "8002"] == 1
    assert (methods[seen,], methods["none",]) == (3 + left_by_scrapes(owners), 1)
    assert owners_later["caller", "8002"] == 1
    assert methods_later["none",] == 0
    assert methods_later.total() >= methods.total()
