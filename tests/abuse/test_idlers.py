"""Slow clients: half a request, one byte per second, TLS without ClientHello."""

from __future__ import annotations

import json
import resource
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from ..end_to_end.inside import once
from ..running import until
from ..tools import require
from .conftest import Size
from .target import Target

pytestmark = [once, require("openssl")]

Start = Callable[..., Target]
Tell = Callable[[str, str], None]

PATIENCE: Final = 15.0
"""Seconds within which an idle client is disconnected."""
AT_ONCE: Final = 1.0
"""Seconds within which a scrape completes."""


@pytest.fixture(autouse=True)
def descriptors() -> None:
    """Raise the descriptor limit for the clients."""
    soft, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(max(soft, 4096), most), most))


def test_scrapes_succeed_and_idle_clients_are_disconnected(
    start: Start, size: Size, tls: bool, tell: Tell
) -> None:
    target = start(tls=tls)
    kept = target.client()
    calm = max(target.scrape(client) for client in (kept, None, kept, None, kept))
    before, took = target.memory(), []
    authority = [str(target.authority)] if target.authority else []
    words = [sys.executable, "-m", "tests.abuse.idlers", str(target.port), str(size.idlers), *authority]
    root = Path(__file__).parents[2]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, cwd=root) as idlers:
        for _ in until("there are idlers"):
            if target.own_sockets()["ESTABLISHED"] > size.idlers // 2:
                break
        while idlers.poll() is None:
            took += [target.scrape(kept), target.scrape()]
        assert idlers.stdout
        lasted = json.load(idlers.stdout)
    assert len(lasted) == size.idlers
    assert max(lasted) < PATIENCE
    # On a machine so busy that a scrape in peace takes long, idlers must not make it much longer.
    assert max(took) < max(AT_ONCE, 4 * calm)
    grown = target.memory() - before
    assert grown < 60
    assert target.own_sockets()["ESTABLISHED"] == 1
    assert target.complaints() == []
    over = "on a TLS port" if tls else "over plain HTTP"
    tell(
        f"{size.idlers} clients that stall, {over}",
        f"{len(took)} scrapes meanwhile took {max(took):.2f} s at most ({calm:.2f} s before); "
        f"all idlers cut off within {max(lasted):.1f} s; {grown:+.1f} MiB",
    )


def test_idle_clients_above_the_limit_do_not_block_scrapes(start: Start, tell: Tell) -> None:
    """At the limit of 512 connections, idle ones are evicted for new clients and scrapers."""
    target = start()
    kept = target.client()
    target.scrape(kept)
    idle: list[socket.socket] = []
    number = 600
    try:
        for _ in range(number):
            idle.append(target.connect())
            idle[-1].sendall(b"GET /metr")
        took = [target.scrape(), target.scrape(kept), target.scrape()]
        assert target.own_sockets()["ESTABLISHED"] <= 512
    finally:
        for each in idle:
            each.close()
    (complaint,) = target.complaints()
    assert "Connection limit reached, closing the longest idle connection" in complaint
    tell(
        f"{number} clients that stall, more than the bound of 512 connections",
        f"scrapes took {max(took):.2f} s at most, over kept and new connections",
    )
