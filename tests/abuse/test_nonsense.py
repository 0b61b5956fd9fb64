"""Wrong credentials, random requests and malformed requests."""

from __future__ import annotations

import base64
import re
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final
from urllib.parse import quote

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ..end_to_end.inside import once
from ..tools import require
from .conftest import Size
from .target import CREDENTIALS, Target

pytestmark = [once, require("openssl")]

Start = Callable[..., Target]
Tell = Callable[[str, str], None]

NO_LINGER: Final = struct.pack("ii", 1, 0)

PATHS: Final = st.sampled_from(
    (
        "/",
        "/-/healthy",
        "/-/ready",
        "/-/reload",
        "/nothing",
        "/metrics/",
        "*",
        "//",
        "/%00",
        "/%ff%fe",
        "/../etc",
    )
)
QUERIES: Final = st.sampled_from(
    ("", "?", "?collect[]=x", "?collect[]=states&exclude[]=states", "?name[]=%00", "?" + "&" * 5000, "?a=%zz")
)
METHODS: Final = st.sampled_from(
    (*["GET"] * 20, "HEAD", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH", "get", "X" * 99)
)
VERSIONS: Final = st.sampled_from(
    (*["HTTP/1.1"] * 40, *["HTTP/1.0"] * 5, "HTTP/2.0", "HTTP/0.9", "HTTP/1.1 x", "", "ICY")
)
WRONG: Final = st.binary(max_size=90).map(lambda raw: "Basic " + base64.b64encode(raw).decode())
AUTHORIZATIONS: Final = st.one_of(
    *[st.just(CREDENTIALS)] * 3, WRONG, WRONG, st.text(max_size=9), st.just("Basic")
)
NAMES: Final = st.sampled_from(
    (
        *("Accept", "Accept-Encoding", "Authorization", "Connection", "Content-Encoding", "Content-Length"),
        *("Cookie", "Expect", "Host", "If-None-Match", "Range", "Transfer-Encoding", "Upgrade"),
    )
)
PRINTABLE: Final = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=40)
VALUES: Final = PRINTABLE | st.sampled_from(
    (
        *(
            "application/openmetrics-text;version=9",
            "gzip;q=nan",
            "chunked",
            "gzip, chunked",
            "-1",
            "5",
            "1e9",
        ),
        *("close", "keep-alive, close", "upgrade", "websocket", "100-continue", "\x00", "a\tb"),
    )
)
HEADERS: Final = st.lists(st.tuples(NAMES, VALUES), max_size=3)
BODIES: Final = st.binary(max_size=60) | st.sampled_from((b"", b"5\r\nhello\r\n0\r\n\r\n", b"zz\r\n"))


@st.composite
def spoken(draw: st.DrawFn) -> bytes:
    """Strategy for syntactically valid requests."""
    path = draw(PATHS | PATHS | st.text(max_size=30).map(lambda text: "/" + quote(text))) + draw(QUERIES)
    lines = [
        f"{draw(METHODS)} {path} {draw(VERSIONS)}".rstrip(),
        "Host: x",
        f"Authorization: {draw(AUTHORIZATIONS)}",
    ]
    lines += [f"{name}: {value}" for name, value in draw(HEADERS)]
    return "\r\n".join([*lines, "", ""]).encode("utf-8", "surrogatepass") + draw(BODIES)


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """Strategy for damaged requests."""
    whole = bytearray(draw(spoken()))
    for _ in range(draw(st.integers(1, 8))):
        place = draw(st.integers(0, len(whole) - 1))
        whole[place : place + draw(st.integers(0, 3))] = draw(st.binary(max_size=3))
    return bytes(whole)


REQUESTS: Final = st.one_of(*(spoken() for _ in range(6)), damaged(), st.binary(max_size=200))


def exchange(target: Target, output: bytes) -> bytes:
    """Send bytes and return the response, read until the server closes."""
    with target.agree(target.connect()) as connection:
        # Reset on close: with a TIME_WAIT per request the client would run out of ephemeral ports.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER)
        try:
            # End the request line and headers, so that the request is complete; then send a valid request.
            connection.sendall(
                output + b"\r\n\r\nGET /-/healthy HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
            )
            connection.settimeout(0.5)
            heard = b""
            while more := connection.recv(65536):
                heard += more
        except (ConnectionError, TimeoutError):
            pass
        return heard


def test_malformed_requests_get_an_error_response(start: Start, size: Size, full: bool, tell: Tell) -> None:
    target = start(users=True)
    for _ in range(5):
        target.scrape()
    statuses = Counter[int]()

    def say(output: bytes) -> None:
        heard = exchange(target, output)
        found = [int(each) for each in re.findall(rb"^HTTP/1\.1 (\d{3}) ", heard, re.MULTILINE)]
        statuses.update(found[:1] or [0])
        assert not [each for each in found if each >= 500], output
        for word in (b"Traceback", b".py", b"/usr", b"exposition"):
            assert word not in heard, output

    def say_so_many(number: int) -> None:
        quiet = list(HealthCheck)
        profile = settings(max_examples=number, deadline=None, database=None, suppress_health_check=quiet)
        profile(given(REQUESTS)(say))()

    # What the first hundreds leave in caches is no growth.
    say_so_many(size.requests // 10)
    before, descriptors = target.memory(), target.descriptors()
    statuses.clear()
    began = time.perf_counter()
    say_so_many(size.requests)
    took = time.perf_counter() - began
    grown = target.memory() - before
    assert grown < 5
    assert target.descriptors() <= descriptors + 5
    assert statuses.keys() >= ({200, 400, 401, 404, 405} if full else {400, 401})
    assert statuses[0] < 0.2 * sum(statuses.values())
    assert target.complaints() == []
    target.scrape()
    result = ", ".join(f"{status or 'cut off'}: {count:,}" for status, count in sorted(statuses.items()))
    tell(
        f"{sum(statuses.values()):,} random, malformed and unauthorized requests",
        f"{result}; no 5xx, nothing logged, {grown:+.1f} MiB, {took:.0f} s",
    )


def test_password_guessing_does_not_lock_out_valid_users(start: Start, size: Size, tell: Tell) -> None:
    """Uses the default cost of bcrypt."""
    target = start(users=True, cost=10)
    known = target.client()
    calm = max(target.scrape(known) for _ in range(5))
    guessers, over = size.idlers // 8, threading.Event()

    def guess(guesser: int) -> Counter[int]:
        statuses, client = Counter[int](), target.client()
        while not over.is_set():
            wrong = f"user{guesser % 7}:guess {guesser} {sum(statuses.values())}"
            credentials = base64.b64encode(wrong.encode()).decode()
            client.request("GET", "/metrics", headers={"Authorization": f"Basic {credentials}"})
            answer = client.getresponse()
            answer.read()
            statuses[answer.status] += 1
            over.wait(0.02)
        return statuses

    with ThreadPoolExecutor(guessers) as threads:
        guessing = [threads.submit(guess, each) for each in range(guessers)]
        took = [target.scrape(known) for _ in range(size.requests // 50)]
        over.set()
        statuses = sum((each.result() for each in guessing), Counter[int]())
    assert 401 in statuses
    assert statuses.keys() <= {401, 429}
    assert max(took) < max(1.0, 4 * calm)
    tell(
        f"{guessers} clients that guess names and passwords, bcrypt's cost being 10",
        f"401: {statuses[401]:,}, 429: {statuses[429]:,}; "
        f"{len(took)} scrapes meanwhile took {max(took):.2f} s at most",
    )
