"""Many concurrent scrapers, and many scrapes."""

from __future__ import annotations

import gzip
import http.client
import socket
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

from ..end_to_end.inside import once
from ..running import samples, until
from ..tools import require
from .conftest import Size
from .target import CREDENTIALS, Target

pytestmark = [once, require("openssl")]

Start = Callable[..., Target]
Tell = Callable[[str, str], None]

FORMATS = ("text/plain", "application/openmetrics-text;version=1.0.0")


def request(number: int) -> bytes:
    lines = (
        "GET /metrics HTTP/1.1",
        "Host: localhost",
        f"Accept: {FORMATS[number % 2]}",
        f"Accept-Encoding: {'gzip' if number % 4 > 1 else 'identity'}",
        f"Authorization: {CREDENTIALS}",
    )
    return "\r\n".join([*lines, "", ""]).encode()


def answer(connection: socket.socket) -> str:
    response = http.client.HTTPResponse(connection)
    response.begin()
    body = response.read()
    assert (response.status, len(body)) == (200, int(response.headers["content-length"]))
    return (gzip.decompress(body) if response.headers["content-encoding"] else body).decode()


def figures(text: str) -> tuple[frozenset[tuple[str, float]], float]:
    """Return the counts by state, and a value that identifies the collection."""
    found = samples(text.removesuffix("# EOF\n"))
    totals = Counter[str]()
    for sample in found:
        if sample.name == "socket_states":
            totals[sample.labels["state"]] += int(sample.value)
    host = {s.labels["state"]: s.value for s in found if s.name == "socket_host_states"}
    assert {state: count for state, count in host.items() if count} == +totals
    (moment,) = (
        s.value
        for s in found
        if s.name == "socket_scrape_collector_duration_seconds" and s.labels["collector"] == "states"
    )
    return frozenset(host.items()), moment


def test_concurrent_scrapers_share_complete_collections(
    start: Start, size: Size, tls: bool, tell: Tell
) -> None:
    target = start(tls=tls, users=tls)
    target.scrape()
    rounds, seconds, most, memory = 5, 0.0, 0, []
    for _ in range(rounds):
        with ExitStack() as stack, ThreadPoolExecutor(16) as threads:
            raw = [stack.enter_context(target.connect()) for _ in range(size.scrapers)]
            connections = [stack.enter_context(each) for each in threads.map(target.agree, raw)]
            began = time.perf_counter()
            for number, connection in enumerate(connections):
                connection.sendall(request(number))
            texts = list(threads.map(answer, connections))
            seconds = max(seconds, time.perf_counter() - began)
        memory.append(target.memory())
        collections = {}
        for host, moment in map(figures, texts):
            # All scrapers of a collection get the same values.
            assert collections.setdefault(moment, host) == host
        assert len(texts) == size.scrapers
        most = max(most, len(collections))
    assert most <= max(3, size.scrapers / 10)
    assert memory[-1] - memory[0] < 15
    over = "TLS, with a password" if tls else "plain HTTP"
    tell(
        f"{size.scrapers} concurrent scrapers, {over}, {rounds} times",
        f"all answered, each in {seconds:.1f} s at most, from {most} collections at most; "
        f"{memory[-1]:.0f} MiB resident, {memory[-1] - memory[0]:+.1f} since the first time",
    )


def test_scrapes_leak_no_sockets_or_memory(start: Start, size: Size, tell: Tell) -> None:
    target = start()
    clients = [target.client() for _ in range(4)]
    for client in clients:
        target.scrape(client)
    before = target.memory()
    began = time.perf_counter()
    for number in range(size.scrapes):
        target.scrape(clients[number % 4])
    took = time.perf_counter() - began
    assert target.own_sockets() == {"ESTABLISHED": 4}
    grown = target.memory() - before
    assert grown < 5
    for client in clients:
        client.close()
    for _ in until("the exporter has noticed that its clients are gone"):
        if not target.own_sockets():
            break
    tell(
        f"{size.scrapes:,} scrapes over 4 connections",
        f"{took / size.scrapes * 1000:.0f} ms each; no TIME_WAIT, no CLOSE_WAIT on its port; "
        f"{grown:+.1f} MiB",
    )


def test_aborted_clients_leave_no_close_wait(start: Start, size: Size, tls: bool) -> None:
    target = start(tls=tls)
    descriptors = target.descriptors()
    for number in range(size.scrapes // 5):
        with target.agree(target.connect()) as connection:
            if number % 2:
                connection.sendall(request(number) * (1 + number % 3))
            if number % 5 == 0 and not tls:
                connection.shutdown(socket.SHUT_WR)
    for _ in until("all are gone"):
        if (
            not target.own_sockets().keys() - {"TIME_WAIT", "NONE"}
            and target.descriptors() <= descriptors + 2
        ):
            break
    target.scrape()
    assert target.complaints() == []
