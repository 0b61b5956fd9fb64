import asyncio
import errno
import gzip
import http.client
import json
import os
import re
import select
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import psutil
import pytest

from exporter.exposition.server import address_of, listen, parse_address
from exporter.exposition.web_crowd import Limits

from .certificates import Authority
from .tools import require

T = TypeVar("T")

# A server with one collector that waits while the file `gate` exists and fails while `broken` does.
PROGRAM = """
import json, sys, time
from pathlib import Path
from prometheus_client.core import GaugeMetricFamily
from exporter.log import configure_logging
from exporter.exposition.application import Application
from exporter.exposition.collection import Collection
from exporter.exposition.server import address_of, listen, serve
from exporter.exposition.web import from_file
from exporter.exposition.web_crowd import Limits

folder, addresses, limits = Path(sys.argv[1]), json.loads(sys.argv[2]), json.loads(sys.argv[3])

class Tiny:
    collections = 0

    def collect(self):
        self.collections += 1
        (folder / "collecting").touch()
        while (folder / "gate").exists():
            time.sleep(0.01)
        if (folder / "broken").exists():
            raise RuntimeError("secret")
        yield GaugeMetricFamily("tiny_collections", "Collections begun.", value=self.collections)
        yield GaugeMetricFamily("tiny_weight", "x" * int((folder / "weight").read_text()), value=1)

configure_logging("info", "logfmt")
listeners = [listen(address) for address in addresses]
print(json.dumps([address_of(listener) for listener in listeners]), flush=True)
web = from_file(str(folder / "web.yml") if (folder / "web.yml").exists() else None)
serve(Application(Collection(Tiny()), title="Tiny"), listeners, Limits(**limits), tls=lambda: web.tls)
"""


class Running:
    """A server in a process of its own."""

    def __init__(self, folder: Path, addresses: list[str], limits: dict[str, float]) -> None:
        self.folder = folder
        (folder / "weight").write_text("10")
        command = [sys.executable, "-c", PROGRAM, str(folder), json.dumps(addresses), json.dumps(limits)]
        with (folder / "log").open("wb") as log:
            self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log)
        assert self.process.stdout
        with self.process.stdout as told:
            self.addresses: list[str] = json.loads(told.readline())
        self.ports = [parse_address(address)[1] for address in self.addresses]

    def connect(self, host: str = "127.0.0.1") -> socket.socket:
        return socket.create_connection((host, self.ports[0]), timeout=20)

    def client(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.ports[0], timeout=20)

    def log(self) -> str:
        return (self.folder / "log").read_text()

    def hold(self) -> None:
        """Makes collections wait from now on."""
        (self.folder / "gate").touch()

    def release(self) -> None:
        (self.folder / "gate").unlink(missing_ok=True)

    def stop(self) -> int:
        self.release()
        self.process.terminate()
        return self.process.wait(20)


Start = Callable[..., Running]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    running: list[Running] = []

    def started(*addresses: str, **limits: float) -> Running:
        running.append(Running(tmp_path, list(addresses or ["127.0.0.1:0"]), limits))
        return running[-1]

    yield started
    for each in running:
        each.stop()


def until(condition: Callable[[], T | None], what: str) -> T:
    """Gives what the condition gives, once it is true."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.01)
    pytest.fail(f"not within 20 s: {what}")


def ask(
    client: http.client.HTTPConnection, path: str = "/metrics", method: str = "GET", **headers: str
) -> tuple[http.client.HTTPResponse, bytes]:
    client.request(method, path, headers={name.replace("_", "-"): value for name, value in headers.items()})
    response = client.getresponse()
    return response, response.read()


def request(path: str = "/metrics", **headers: str) -> bytes:
    lines = [f"GET {path} HTTP/1.1", "Host: x", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode()


def answer(connection: socket.socket) -> tuple[int, bytes]:
    """Reads one whole answer."""
    response = http.client.HTTPResponse(connection)
    response.begin()
    return response.status, response.read()


def is_reset(connection: socket.socket) -> bool:
    """Waits for the connection's end; whether that was a reset."""
    try:
        while connection.recv(4096):
            pass
    except ConnectionResetError:
        return True
    return False


def is_turned_away(running: Running) -> bool:
    """Connects; whether the connection was reset, be it before the client took notice of its being made."""
    try:
        with running.connect() as connection:
            return is_reset(connection)
    except ConnectionResetError:
        return True


def is_refused(running: Running) -> bool:
    try:
        running.connect().close()
    except ConnectionError:
        return True
    return False


def time_waits(port: int) -> int:
    """How many sockets in TIME_WAIT hold this port as their own."""
    left = (each for each in psutil.net_connections("tcp") if each.status == psutil.CONN_TIME_WAIT)
    return sum(getattr(each.laddr, "port", None) == port for each in left)


def collections(body: bytes) -> int:
    found = re.search(rb"^tiny_collections (\d+)", body, re.MULTILINE)
    assert found
    return int(found[1])


class TestAddress:
    @pytest.mark.parametrize(
        ("address", "parsed"),
        [
            (":10066", ("", 10066)),
            ("127.0.0.1:0", ("127.0.0.1", 0)),
            ("0.0.0.0:65535", ("0.0.0.0", 65535)),
            ("[::1]:10066", ("::1", 10066)),
            ("[fe80::1%eth0]:9", ("fe80::1%eth0", 9)),
            ("host.example:80", ("host.example", 80)),
        ],
    )
    def test_is_a_host_and_a_port(self, address: str, parsed: tuple[str, int]) -> None:
        assert parse_address(address) == parsed

    @pytest.mark.parametrize(
        ("address", "problem"),
        [
            ("", "expected host:port"),
            ("10066", "expected host:port"),
            ("localhost", "expected host:port"),
            ("::1:10066", "expected host:port"),
            ("::1", "expected host:port"),
            ("[::1]", "expected host:port"),
            ("[::1:10066", "expected host:port"),
            ("host:", "the port must be"),
            (":http", "the port must be"),
            (":65536", "the port must be"),
            (":-1", "the port must be"),
            (":+1", "the port must be"),
            (": 1", "the port must be"),
            (":1_0", "the port must be"),
            (":\u0661", "the port must be"),
        ],
    )
    def test_anything_else_is_named_and_explained(self, address: str, problem: str) -> None:
        with pytest.raises(ValueError, match=f"listen address {re.escape(repr(address))}: {problem}"):
            parse_address(address)


class TestListen:
    def test_its_address_can_be_read_back(self) -> None:
        with listen("127.0.0.1:0") as listener:
            host, port = parse_address(address_of(listener))
            assert (host, port) == listener.getsockname()
            assert port > 0

    def test_small_answers_are_sent_without_delay(self) -> None:
        async def no_delay() -> int:
            accepted: asyncio.Future[asyncio.StreamWriter] = asyncio.get_running_loop().create_future()
            server = await asyncio.start_server(lambda _, writer: accepted.set_result(writer), sock=listener)
            async with server:
                _, client = await asyncio.open_connection(*listener.getsockname())
                connection = (await accepted).get_extra_info("socket")
                option: int = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
                for writer in (client, await accepted):
                    writer.close()
                return option

        with listen("127.0.0.1:0") as listener:
            assert asyncio.run(no_delay()) != 0

    def test_a_port_without_a_host_is_every_interface(self) -> None:
        with listen(":0") as listener:
            port = listener.getsockname()[1]
            for host in ("127.0.0.1", "::1") if socket.has_dualstack_ipv6() else ("127.0.0.1",):
                socket.create_connection((host, port), timeout=20).close()

    def test_a_host_without_ipv6_is_no_failure(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(socket, "has_dualstack_ipv6", lambda: False)
        with listen(":0") as listener:
            assert listener.family == socket.AF_INET
            socket.create_connection(("127.0.0.1", listener.getsockname()[1]), timeout=20).close()

    def test_a_name_with_both_families_means_ipv4(self, monkeypatch: pytest.MonkeyPatch) -> None:
        found = [
            (socket.AF_INET6, socket.SOCK_STREAM, 0, "", ("::1", 0, 0, 0)),
            (socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", 0)),
        ]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
        with listen("localhost:0") as listener:
            assert listener.family == socket.AF_INET

    @pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="needs IPv6")
    def test_an_ipv6_address_is_ipv6(self) -> None:
        with listen("[::1]:0") as listener:
            assert address_of(listener) == f"[::1]:{listener.getsockname()[1]}"

    def test_a_port_that_is_taken_is_named(self) -> None:
        with listen("127.0.0.1:0") as listener:
            address = address_of(listener)
            with pytest.raises(OSError, match=f"cannot listen on {re.escape(address)}: ") as raised:
                listen(address)
            assert raised.value.errno in (errno.EADDRINUSE, errno.EACCES)

    def test_a_host_that_is_none_is_named(self) -> None:
        with pytest.raises(OSError, match=r"cannot listen on no such host:0: \S"):
            listen("no such host:0")

    @pytest.mark.skipif(os.name == "nt", reason="POSIX: a restart must not wait for TIME_WAIT")
    def test_a_port_in_time_wait_can_be_had_again(self) -> None:
        with listen("127.0.0.1:0") as listener:
            address = address_of(listener)
            client = socket.create_connection(listener.getsockname(), timeout=20)
            listener.accept()[0].close()
            client.close()
        listen(address).close()


class TestRequests:
    def test_head_gzip_and_statuses_come_through(self, start: Start) -> None:
        client = start().client()
        told, nothing = ask(client, method="HEAD")
        asked, body = ask(client)
        assert (told.status, told.headers["content-length"], nothing) == (200, str(len(body)), b"")
        assert (asked.status, collections(body)) == (200, 2)
        packed, compressed = ask(client, accept_encoding="gzip", accept="application/openmetrics-text")
        assert packed.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0;")
        assert gzip.decompress(compressed).endswith(b"# EOF\n")
        assert [ask(client, path)[0].status for path in ("/", "/-/healthy", "/none")] == [200, 200, 404]
        refused, _ = ask(client, method="DELETE")
        assert (refused.status, refused.headers["allow"]) == (405, "GET, HEAD")

    def test_answers_are_dated_and_do_not_name_the_server(self, start: Start) -> None:
        response, _ = ask(start().client())
        assert http.client.HTTPMessage.get(response.headers, "server") is None
        assert re.fullmatch(r"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT", response.headers["date"])

    def test_a_failed_collection_is_told_and_logged_in_one_line(self, start: Start) -> None:
        running = start()
        (running.folder / "broken").touch()
        client = running.client()
        for _ in range(2):
            response, body = ask(client)
            assert response.status == 500
            assert b"secret" not in body
            assert b"Traceback" not in body
        problems = [line for line in running.log().splitlines() if "level=warn" in line]
        assert len(problems) == 1
        assert 'msg="Collection failed" err="RuntimeError: secret"' in problems[0]
        assert "Traceback" not in running.log()

    @pytest.mark.parametrize(
        "rubbish", [b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", b"GET / HTTP/1.1 x\r\n\r\n"]
    )
    def test_rubbish_is_answered_and_harms_nobody(self, start: Start, rubbish: bytes) -> None:
        running = start()
        with running.connect() as connection:
            connection.sendall(rubbish)
            assert answer(connection)[0] == 400
        assert ask(running.client())[0].status == 200
        assert all(line.startswith("time=") for line in running.log().splitlines())

    def test_scrapes_that_come_together_share_a_collection(self, start: Start) -> None:
        running = start()
        running.hold()
        connections = [running.connect() for _ in range(30)]
        for connection in connections:
            connection.sendall(request())
        until((running.folder / "collecting").exists, "a collection")
        # The server answers this after it has read what lay before it in all the others.
        client = running.client()
        for _ in range(2):
            assert ask(client, "/-/healthy")[0].status == 200
        running.release()
        answers = [answer(connection) for connection in connections]
        assert {(status, collections(body)) for status, body in answers} == {(200, 1)}
        assert collections(ask(client)[1]) == 2

    def test_every_address_is_served_and_logged(self, start: Start) -> None:
        running = start("127.0.0.1:0", "127.0.0.1:0")
        for address in running.addresses:
            client = http.client.HTTPConnection(address, timeout=20)
            assert ask(client, "/-/ready")[0].status == 200
            assert f'level=info msg="Listening on" address={address} tls=false\n' in running.log()

    @pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="needs IPv6")
    def test_a_port_alone_is_served_over_both_families(self, start: Start) -> None:
        running = start(":0")
        assert running.addresses == [f"[::]:{running.ports[0]}"]
        for host in ("127.0.0.1", "::1"):
            with running.connect(host) as connection:
                connection.sendall(request())
                assert answer(connection)[0] == 200


@pytest.mark.skipif(sys.platform == "darwin", reason="others' sockets cannot be listed without root")
class TestTimeWait:
    def test_scrapes_over_one_connection_leave_none(self, start: Start) -> None:
        running = start()
        client = running.client()
        assert [ask(client)[0].status for _ in range(20)] == [200] * 20
        client.close()
        # Were the count blind, it would miss this one too: the server closes first, because it is asked to.
        with running.connect() as connection:
            connection.sendall(request(Connection="close"))
            assert answer(connection)[0] == 200
            assert connection.recv(1) == b""
        until(lambda: time_waits(running.ports[0]), "the one TIME_WAIT of the connection that was not kept")
        assert time_waits(running.ports[0]) == 1

    def test_connections_that_were_cut_leave_none(self, start: Start) -> None:
        running = start(request_seconds=0.1, connections=1)
        with running.connect() as silent:
            assert is_turned_away(running)
            assert is_reset(silent)
        assert time_waits(running.ports[0]) == 0


class TestDeadlines:
    @pytest.mark.parametrize("sent", [b"", b"G", b"GET /metrics HTTP/1.1\r\nHost: x\r\n"])
    def test_a_request_that_is_not_finished_is_cut_off(self, start: Start, sent: bytes) -> None:
        running = start(request_seconds=0.3)
        with running.connect() as connection:
            connection.sendall(sent)
            assert is_reset(connection)
        assert ask(running.client())[0].status == 200

    def test_bytes_that_trickle_in_do_not_put_it_off(self, start: Start) -> None:
        running = start(request_seconds=0.3)
        with running.connect() as connection:
            connection.sendall(b"GET /metrics HTTP/1.1\r\nX: ")

            def is_cut_off() -> bool:
                try:
                    connection.sendall(b"x")
                except ConnectionError:
                    return True
                return False

            until(is_cut_off, "the end of a request that never ends")

    def test_a_body_counts_as_part_of_the_request(self, start: Start) -> None:
        running = start(request_seconds=0.3)
        with running.connect() as connection:
            connection.sendall(request(**{"Content-Length": "10"}) + b"x")
            assert answer(connection)[0] == 200
            assert is_reset(connection)

    @pytest.mark.parametrize("pipelined", [False, True])
    def test_a_later_request_has_its_own(self, start: Start, pipelined: bool) -> None:
        running = start(request_seconds=0.3)
        half = request()[:-2]
        with running.connect() as connection:
            connection.sendall(request() + half if pipelined else request())
            assert answer(connection)[0] == 200
            if not pipelined:
                connection.sendall(half)
            assert is_reset(connection)

    def test_an_idle_connection_and_a_slow_collection_are_not_cut_off(self, start: Start) -> None:
        running = start(request_seconds=0.3)
        client = running.client()
        assert ask(client, "/-/healthy")[0].status == 200
        kept = client.sock
        running.hold()
        with running.connect() as scraping, running.connect() as silent:
            scraping.sendall(request()[:9])
            # After this answer the first half has been read.
            assert ask(client, "/-/healthy")[0].status == 200
            scraping.sendall(request()[9:])
            # When this one's time is up, so would be the others'.
            assert is_reset(silent)
            running.release()
            assert answer(scraping)[0] == 200
        assert ask(client)[0].status == 200
        assert client.sock is kept

    @pytest.mark.skipif(not hasattr(select, "poll"), reason="needs poll(), to see a reset without reading")
    def test_an_answer_that_nobody_reads_is_given_up(self, start: Start) -> None:
        running = start(response_seconds=0.3)
        (running.folder / "weight").write_text(str(20_000_000))
        with running.connect() as connection:
            connection.sendall(request())
            poll = select.poll()
            poll.register(connection, 0)
            assert poll.poll(20_000) == [(connection.fileno(), select.POLLERR | select.POLLHUP)]
        assert ask(running.client(), "/-/healthy")[0].status == 200

    @pytest.mark.skipif(sys.platform != "linux", reason="knows what Linux buffers")
    def test_many_answers_that_nobody_reads_cost_little(self, start: Start) -> None:
        running = start()
        (running.folder / "weight").write_text(str(20_000_000))
        process = psutil.Process(running.process.pid)
        running.hold()
        connections = [running.connect() for _ in range(30)]
        for connection in connections:
            connection.sendall(request())
        assert ask(running.client(), "/-/healthy")[0].status == 200
        running.release()
        for connection in connections:
            assert connection.recv(1000)
        # The answer itself a few times over, not once for each.
        assert process.memory_info().rss < 300_000_000
        for connection in connections:
            connection.close()

    def test_an_answer_that_is_read_late_is_not(self, start: Start) -> None:
        running = start(response_seconds=1, request_seconds=1.5)
        (running.folder / "weight").write_text(str(20_000_000))
        with running.connect() as connection:
            connection.sendall(request())
            # More than the buffers hold: the server waits for this reader.
            assert answer(connection)[0] == 200
            with running.connect() as silent:
                assert is_reset(silent)
            connection.sendall(request("/-/healthy"))
            assert answer(connection)[0] == 200


@require("openssl")
class TestTls:
    @pytest.fixture
    def start(self, start: Start, tmp_path: Path) -> Start:
        authority = Authority(tmp_path)
        authority.sign("server")
        (tmp_path / "web.yml").write_text(
            "tls_server_config: {cert_file: server.pem, key_file: server.key}\n"
        )
        return start

    @staticmethod
    def client(running: Running) -> http.client.HTTPSConnection:
        context = ssl.create_default_context(cafile=str(running.folder / "ca.pem"))
        return http.client.HTTPSConnection("localhost", running.ports[0], timeout=20, context=context)

    def test_requests_are_answered_over_one_connection(self, start: Start) -> None:
        running = start()
        (running.folder / "weight").write_text(str(1_000_000))
        client = self.client(running)
        first, body = ask(client)
        assert (first.status, collections(body), len(body) > 1_000_000) == (200, 1, True)
        kept = client.sock
        assert isinstance(kept, ssl.SSLSocket)
        assert kept.version() == "TLSv1.3"
        assert collections(ask(client)[1]) == 2
        assert client.sock is kept
        client.close()
        assert time_waits(running.ports[0]) == 0

    @pytest.mark.parametrize(
        "sent", [b"", b"\x16", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"], ids=["", "byte", "half"]
    )
    def test_who_does_not_say_hello_is_cut_off(self, start: Start, sent: bytes) -> None:
        running = start(request_seconds=0.3)
        with running.connect() as connection:
            connection.sendall(sent)
            assert is_reset(connection)
        assert ask(self.client(running))[0].status == 200
        assert time_waits(running.ports[0]) == 0

    def test_the_handshake_and_the_request_share_a_deadline(self, start: Start) -> None:
        running = start(request_seconds=3)
        context = ssl.create_default_context(cafile=str(running.folder / "ca.pem"))
        with running.connect() as raw:
            time.sleep(1.5)
            with context.wrap_socket(raw, server_hostname="localhost") as slow, running.connect() as later:
                slow.sendall(b"GET /metr")
                is_reset(slow)
                # Whose time began when the handshake was over.
                assert select.select([later], [], [], 0)[0] == []
                assert is_reset(later)
        assert time_waits(running.ports[0]) == 0

    @pytest.mark.parametrize("sent", [request(), b"rubbish" * 100, b"\x16\x03\x01\x00\x05hello"])
    def test_who_speaks_no_tls_is_cut_off_at_once_and_leaves_no_trace(
        self, start: Start, sent: bytes
    ) -> None:
        running = start()
        with running.connect() as connection:
            connection.sendall(sent)
            assert select.select([connection], [], [], 5)[0], "cut off only by its deadline"
            is_reset(connection)
        with running.connect() as connection:
            connection.sendall(sent)
            is_reset(connection)
        assert time_waits(running.ports[0]) == 0
        assert ask(self.client(running))[0].status == 200
        assert "Traceback" not in running.log()
        (told,) = [line for line in running.log().splitlines() if "TLS" in line]
        assert (
            'level=info msg="TLS handshake failed; others like it are logged at level debug" reason=' in told
        )
        assert [line for line in running.log().splitlines() if "level=info" not in line] == []

    def test_while_others_are_silent_scrapes_are_answered(self, start: Start) -> None:
        running = start()
        silent = [running.connect() for _ in range(50)]
        assert ask(self.client(running))[0].status == 200
        for connection in silent:
            connection.close()

    def test_a_signal_ends_handshakes_and_lets_scrapes_finish(self, start: Start) -> None:
        running = start()
        client = self.client(running)
        running.hold()
        client.request("GET", "/metrics")
        until((running.folder / "collecting").exists, "a collection")
        with running.connect() as silent:
            ask(self.client(running), "/-/healthy")
            running.process.send_signal(signal.SIGTERM)
            assert is_reset(silent)
            running.release()
            response = client.getresponse()
            assert (response.status, collections(response.read())) == (200, 1)
        assert running.process.wait(20) == 0

    @pytest.mark.skipif(not hasattr(select, "poll"), reason="needs poll(), to see a reset without reading")
    def test_an_answer_that_nobody_reads_is_given_up(self, start: Start) -> None:
        running = start(response_seconds=0.5)
        (running.folder / "weight").write_text(str(20_000_000))
        client = self.client(running)
        client.request("GET", "/metrics")
        poll = select.poll()
        poll.register(client.sock, 0)
        assert poll.poll(20_000) == [(client.sock.fileno(), select.POLLERR | select.POLLHUP)]

    def test_an_answer_that_is_read_late_is_not(self, start: Start) -> None:
        running = start(response_seconds=1, request_seconds=1.5)
        (running.folder / "weight").write_text(str(20_000_000))
        client = self.client(running)
        assert ask(client)[0].status == 200
        with running.connect() as silent:
            assert is_reset(silent)
        assert ask(client, "/-/healthy")[0].status == 200


class TestConnections:
    def test_beyond_the_bound_who_has_asked_nothing_has_to_go_first(self, start: Start) -> None:
        running = start(connections=3)
        scraper = running.client()
        assert ask(scraper)[0].status == 200
        with running.connect() as oldest, running.connect() as younger:
            younger.sendall(b"GET /metr")
            assert ask(running.client(), "/-/healthy")[0].status == 200
            assert is_reset(oldest)
            assert ask(running.client(), "/-/healthy")[0].status == 200
            assert is_reset(younger)
        kept = scraper.sock
        assert ask(scraper)[0].status == 200
        assert scraper.sock is kept
        assert running.log().count('level=warn msg="Too many connections" limit=3') == 1

    def test_then_who_has_been_idle_for_longest(self, start: Start) -> None:
        running = start(connections=2)
        first, second, third = (running.client() for _ in range(3))
        for client in (first, second):
            assert ask(client, "/-/healthy")[0].status == 200
        # Now the second one is the older.
        assert ask(first, "/-/healthy")[0].status == 200
        kept = first.sock
        assert ask(third, "/-/healthy")[0].status == 200
        assert second.sock
        assert is_reset(second.sock)
        assert ask(first, "/-/healthy")[0].status == 200
        assert first.sock is kept

    def test_but_nobody_who_is_being_answered(self, start: Start) -> None:
        running = start(connections=2)
        running.hold()
        with running.connect() as one, running.connect() as other:
            for connection in (one, other):
                connection.sendall(request())
            until((running.folder / "collecting").exists, "a collection")
            until(lambda: is_turned_away(running), "both requests being known")
            running.release()
            assert [answer(connection)[0] for connection in (one, other)] == [200, 200]
        until(
            lambda: 'level=info msg="Connections are accepted again"' in running.log(),
            "the end of the problem",
        )

    def test_idle_for_longer_than_allowed_is_closed(self, start: Start) -> None:
        running = start(idle_seconds=0.1, request_seconds=3)
        with running.connect() as connection:
            connection.sendall(request())
            assert answer(connection)[0] == 200
            with running.connect() as silent:
                assert not is_reset(connection)
                # Closed because of its own limit: that of this one, which began later, is not over.
                silent.sendall(request())
                assert answer(silent)[0] == 200

    def test_idle_connections_outlive_prometheus_patience_with_them(self) -> None:
        assert Limits().idle_seconds > 300


@pytest.mark.skipif(os.name == "nt", reason="Windows has no signals to send to another process")
class TestStop:
    @pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT])
    def test_a_signal_lets_the_scrape_in_flight_finish(self, start: Start, sent: signal.Signals) -> None:
        running = start()
        (running.folder / "weight").write_text(str(1_000_000))
        running.hold()
        with running.connect() as connection:
            connection.sendall(request())
            until((running.folder / "collecting").exists, "a collection")
            running.process.send_signal(sent)
            until(lambda: is_refused(running), "the end of listening")
            # Neither an answer nor the connection's end while the collection lasts.
            assert select.select([connection], [], [], 0.5)[0] == []
            running.release()
            status, body = answer(connection)
            assert (status, collections(body), len(body) > 1_000_000) == (200, 1, True)
            assert running.process.wait(20) == 0
        assert running.log().count(" level=info msg=Stopped\n") == 1

    def test_idle_and_half_open_connections_do_not_hold_it_up(self, start: Start) -> None:
        running = start()
        client = running.client()
        assert ask(client)[0].status == 200
        with running.connect() as half:
            half.sendall(b"GET /")
            assert ask(client)[0].status == 200
            running.process.send_signal(signal.SIGTERM)
            assert running.process.wait(10) == 0

    def test_a_collection_that_hangs_is_not_waited_for_without_end(self, start: Start) -> None:
        running = start(shutdown_seconds=1)
        running.hold()
        with running.connect() as connection:
            connection.sendall(request())
            until((running.folder / "collecting").exists, "a collection")
            running.process.send_signal(signal.SIGTERM)
            until(lambda: "msg=Stopped" in running.log(), "the server's end")


def test_importing_the_server_loads_no_protocol_that_is_not_served() -> None:
    program = "import sys, exporter.exposition.server; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    unwanted = {"websockets", "wsproto", "httptools", "uvloop", "zttp", "watchfiles", "dotenv", "bcrypt"}
    assert "h11" in loaded.stdout.split()
    assert unwanted.isdisjoint(loaded.stdout.split())
