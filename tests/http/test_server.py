"""Addresses, listeners, signals, and sockets left in TIME_WAIT."""

from __future__ import annotations

import errno
import os
import re
import select
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from exporter.http.connection import format_socket_address
from exporter.http.limits import ServerLimits
from exporter.http.server import listen, parse_listen_address

from .servers import (
    Start,
    collections,
    is_evicted,
    is_refused,
    is_reset,
    read_response,
    request,
    send_request,
    time_waits,
    until,
)

# A server without connections, whose other thread receives SIGTERM: that does not interrupt the event loop's
# system call, as for a signal just before that.
SIGNAL_IN_THREAD = """
import signal, threading, time
from exporter.http.server import listen, serve

def stop():
    time.sleep(0.5)
    signal.pthread_kill(threading.get_ident(), signal.SIGTERM)

threading.Thread(target=stop).start()
serve(None, [listen("127.0.0.1:0")])
"""

# Without signals, as a service of Windows, whose server runs in a thread.
STOP_IN_THREAD = """
import threading
from exporter.http.server import listen, serve

stop = threading.Event()
server = threading.Thread(target=serve, args=(None, [listen("127.0.0.1:0")]), kwargs={"stop": stop})
server.start()
stop.set()
server.join()
"""

# A server that stops itself and connects to itself, one iteration of the event loop before accepting ends.
CONNECT_AT_STOP = """
import asyncio, os, signal, socket
from exporter.http.messages import Response
from exporter.http.server import listen, serve
from exporter.log import configure_logging

async def handler(request):
    late = socket.socket()
    os.kill(os.getpid(), signal.SIGTERM)
    asyncio.get_running_loop().call_soon(late.connect, address)
    await asyncio.sleep(0.1)
    late.close()
    return Response(200, b"")

configure_logging("info", "logfmt")
listener = listen("127.0.0.1:0")
address = listener.getsockname()
client = socket.create_connection(address)
client.sendall(b"GET / HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n")
serve(handler, [listener])
client.close()
"""


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
    def test_has_host_and_port(self, address: str, parsed: tuple[str, int]) -> None:
        assert parse_listen_address(address) == parsed

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
    def test_malformed_address_is_quoted_and_explained(self, address: str, problem: str) -> None:
        with pytest.raises(ValueError, match=f"listen address {re.escape(repr(address))}: {problem}"):
            parse_listen_address(address)


class TestListen:
    def test_bound_address_can_be_read_back(self) -> None:
        with listen("127.0.0.1:0") as listener:
            host, port = parse_listen_address(format_socket_address(listener.getsockname()))
            assert (host, port) == listener.getsockname()
            assert port > 0

    def test_empty_host_listens_on_all_interfaces(self) -> None:
        with listen(":0") as listener:
            port = listener.getsockname()[1]
            for host in ("127.0.0.1", "::1") if socket.has_dualstack_ipv6() else ("127.0.0.1",):
                socket.create_connection((host, port), timeout=20).close()

    def test_empty_host_without_ipv6_listens_on_ipv4(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(socket, "has_dualstack_ipv6", lambda: False)
        with listen(":0") as listener:
            assert listener.family == socket.AF_INET
            socket.create_connection(("127.0.0.1", listener.getsockname()[1]), timeout=20).close()

    def test_name_with_both_families_means_ipv4(self, monkeypatch: pytest.MonkeyPatch) -> None:
        addresses = [
            (socket.AF_INET6, socket.SOCK_STREAM, 0, "", ("::1", 0, 0, 0)),
            (socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", 0)),
        ]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: addresses)
        with listen("localhost:0") as listener:
            assert listener.family == socket.AF_INET

    @pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="needs IPv6")
    def test_ipv6_address_listens_on_ipv6(self) -> None:
        with listen("[::1]:0") as listener:
            assert format_socket_address(listener.getsockname()) == f"[::1]:{listener.getsockname()[1]}"

    def test_error_names_address_in_use(self) -> None:
        with listen("127.0.0.1:0") as listener:
            address = format_socket_address(listener.getsockname())
            with pytest.raises(OSError, match=f"cannot listen on {re.escape(address)}: ") as raised:
                listen(address)
            assert raised.value.errno in (errno.EADDRINUSE, errno.EACCES)

    def test_error_names_unresolvable_host(self) -> None:
        with pytest.raises(OSError, match=r"cannot listen on no such host:0: \S"):
            listen("no such host:0")

    @pytest.mark.skipif(os.name == "nt", reason="POSIX: a restart must not wait for TIME_WAIT")
    def test_port_in_time_wait_can_be_bound(self) -> None:
        with listen("127.0.0.1:0") as listener:
            address = format_socket_address(listener.getsockname())
            client = socket.create_connection(listener.getsockname(), timeout=20)
            listener.accept()[0].close()
            client.close()
        listen(address).close()


@pytest.mark.skipif(sys.platform == "darwin", reason="others' sockets cannot be listed without root")
class TestTimeWait:
    def test_kept_connection_leaves_none(self, start: Start) -> None:
        running = start()
        client = running.client()
        assert [send_request(client)[0].status for _ in range(20)] == [200] * 20
        client.close()
        # Proves that the count works: here the server closes first, at the request of the client.
        with running.connect() as connection:
            connection.sendall(request(Connection="close"))
            assert read_response(connection)[0] == 200
            assert connection.recv(1) == b""
        until(lambda: time_waits(running.ports[0]), "the TIME_WAIT of the connection without keep-alive")
        assert time_waits(running.ports[0]) == 1

    def test_evicted_and_timed_out_connections_leave_none(self, start: Start) -> None:
        running = start(request_timeout=0.1, max_connections=1)
        with running.connect() as silent:
            assert is_evicted(running)
            assert is_reset(silent)
        assert time_waits(running.ports[0]) == 0


@pytest.mark.skipif(os.name == "nt", reason="Windows has no signals to send to another process")
class TestShutdown:
    @pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT])
    def test_signal_waits_for_scrape_in_progress(self, start: Start, sent: signal.Signals) -> None:
        running = start()
        (running.folder / "weight").write_text(str(1_000_000))
        running.hold()
        with running.connect() as connection:
            connection.sendall(request())
            until((running.folder / "collecting").exists, "a collection")
            running.process.send_signal(sent)
            until(lambda: is_refused(running), "the end of listening")
            # Neither a response nor the end of the connection while the collection runs.
            assert select.select([connection], [], [], 0.5)[0] == []
            running.release()
            status, body = read_response(connection)
            assert (status, collections(body), len(body) > 1_000_000) == (200, 1, True)
            assert running.process.wait(20) == 0
        assert running.log().count(" level=info msg=Stopped\n") == 1

    def test_idle_and_reading_connections_do_not_delay_stop(self, start: Start) -> None:
        running = start()
        client = running.client()
        assert send_request(client)[0].status == 200
        with running.connect() as half:
            half.sendall(b"GET /")
            assert send_request(client)[0].status == 200
            running.process.send_signal(signal.SIGTERM)
            assert running.process.wait(10) == 0

    def test_response_in_progress_closes_the_connection(self, start: Start) -> None:
        running = start()
        running.hold()
        client = running.client()
        client.request("GET", "/metrics")
        until((running.folder / "collecting").exists, "a collection")
        running.process.send_signal(signal.SIGTERM)
        until(lambda: is_refused(running), "the end of listening")
        running.release()
        response = client.getresponse()
        assert (response.status, response.headers["connection"]) == (200, "close")

    def test_second_sigint_does_not_wait(self, start: Start) -> None:
        running = start()
        running.hold()
        with running.connect() as connection:
            connection.sendall(request())
            until((running.folder / "collecting").exists, "a collection")
            running.process.send_signal(signal.SIGINT)
            until(lambda: is_refused(running), "the end of listening")
            running.process.send_signal(signal.SIGINT)
            assert is_reset(connection)
            assert running.process.wait(20) == 0

    def test_signal_that_another_thread_receives_stops_an_idle_server(self) -> None:
        subprocess.run([sys.executable, "-c", SIGNAL_IN_THREAD], timeout=10, check=True)

    def test_stop_that_another_thread_requests_ends_an_idle_server(self) -> None:
        subprocess.run([sys.executable, "-c", STOP_IN_THREAD], timeout=10, check=True)

    def test_client_that_connects_while_accepting_ends_is_not_logged(self) -> None:
        stopped = subprocess.run(
            [sys.executable, "-c", CONNECT_AT_STOP], capture_output=True, text=True, timeout=20, check=True
        )
        assert re.findall(r"level=(\w+) msg=(\S+)", stopped.stderr) == [
            ("info", '"Listening'),
            ("info", "Stopped"),
        ]

    def test_hanging_collection_delays_stop_by_shutdown_timeout(self, start: Start) -> None:
        assert ServerLimits().shutdown_timeout == 15
        running = start(shutdown_timeout=1)
        running.hold()
        with running.connect() as connection:
            connection.sendall(request())
            until((running.folder / "collecting").exists, "a collection")
            running.process.send_signal(signal.SIGTERM)
            until(lambda: "msg=Stopped" in running.log(), "the server's end")


def test_import_loads_no_other_server_or_protocol() -> None:
    program = "import sys, exporter.http.server; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    unwanted = {"uvicorn", "click", "websockets", "httptools", "uvloop", "bcrypt"}
    assert "h11" in loaded.stdout.split()
    assert unwanted.isdisjoint(loaded.stdout.split())


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_idle_server_does_not_wake_up(start: Start) -> None:
    running = start()
    client = running.client()
    assert send_request(client, "/-/healthy")[0].status == 200
    process = psutil.Process(running.process.pid)
    time.sleep(0.2)
    switches = process.num_ctx_switches().voluntary
    time.sleep(3)
    assert process.num_ctx_switches().voluntary == switches


@pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="needs Unix sockets")
def test_unix_socket_is_served(start: Start, tmp_path: Path) -> None:
    running = start(str(tmp_path / "socket"))
    assert running.addresses == [str(tmp_path / "socket")]
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(running.addresses[0])
        for _ in range(2):
            connection.sendall(request("/-/healthy"))
            assert read_response(connection)[0] == 200


@pytest.mark.skipif(sys.platform == "win32", reason="psutil reports no descriptors on Windows")
def test_accepted_connections_have_tcp_nodelay(start: Start) -> None:
    assert send_request(start().client(), "/no-delay")[1] == b"[True]"
