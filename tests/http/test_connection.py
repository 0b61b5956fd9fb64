"""Requests, responses, and the timeouts of a connection."""

from __future__ import annotations

import gzip
import http.client
import json
import re
import select
import socket
import sys

import psutil
import pytest

from .servers import Running, Start, collections, is_reset, read_response, request, send_request, until


def own_sockets(running: Running) -> int:
    """Return the number of connected sockets of the server, without those of its event loop.

    Of all processes on Windows, as Wine has no pids of accepted connections. macOS lists those only for root.
    """
    if sys.platform == "win32":
        connections = psutil.net_connections("tcp")
    else:
        connections = psutil.Process(running.process.pid).net_connections("tcp")
    ended = psutil.CONN_LISTEN, psutil.CONN_TIME_WAIT
    return sum(row.laddr.port in running.ports and row.status not in ended for row in connections)


class TestRequests:
    def test_head_gzip_and_statuses(self, start: Start) -> None:
        client = start().client()
        head, no_body = send_request(client, method="HEAD")
        response, body = send_request(client)
        assert (head.status, head.headers["content-length"], no_body) == (200, str(len(body)), b"")
        assert (response.status, collections(body)) == (200, 2)
        packed, compressed = send_request(
            client, accept_encoding="gzip", accept="application/openmetrics-text"
        )
        assert packed.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0;")
        assert gzip.decompress(compressed).endswith(b"# EOF\n")
        assert [send_request(client, path)[0].status for path in ("/", "/-/healthy", "/none")] == [
            200,
            200,
            404,
        ]
        refused, _ = send_request(client, method="DELETE")
        assert (refused.status, refused.headers["allow"]) == (405, "GET, HEAD")

    def test_response_has_date_and_no_server_header(self, start: Start) -> None:
        response, _ = send_request(start().client())
        assert http.client.HTTPMessage.get(response.headers, "server") is None
        assert re.fullmatch(r"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT", response.headers["date"])

    def test_failed_collection_is_500_and_logged_once(self, start: Start) -> None:
        running = start()
        (running.folder / "broken").touch()
        client = running.client()
        for _ in range(2):
            response, body = send_request(client)
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
    def test_malformed_request_is_400(self, start: Start, rubbish: bytes) -> None:
        running = start()
        with running.connect() as connection:
            connection.sendall(rubbish)
            assert read_response(connection)[0] == 400
        assert send_request(running.client())[0].status == 200
        assert all(line.startswith("time=") for line in running.log().splitlines())

    def test_concurrent_scrapes_share_a_collection(self, start: Start) -> None:
        running = start()
        running.hold()
        connections = [running.connect() for _ in range(30)]
        for connection in connections:
            connection.sendall(request())
        until((running.folder / "collecting").exists, "a collection")
        # The server answers this one after it has read the data that arrived before on all others.
        client = running.client()
        for _ in range(2):
            assert send_request(client, "/-/healthy")[0].status == 200
        running.release()
        responses = [read_response(connection) for connection in connections]
        assert {(status, collections(body)) for status, body in responses} == {(200, 1)}
        assert collections(send_request(client)[1]) == 2

    def test_each_address_is_served_and_logged(self, start: Start) -> None:
        running = start("127.0.0.1:0", "127.0.0.1:0")
        for address in running.addresses:
            client = http.client.HTTPConnection(address, timeout=20)
            assert send_request(client, "/-/ready")[0].status == 200
            assert f'level=info msg="Listening on" address={address} tls=false\n' in running.log()

    @pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="needs IPv6")
    def test_port_alone_is_served_over_both_families(self, start: Start) -> None:
        running = start(":0")
        assert running.addresses == [f"[::]:{running.ports[0]}"]
        for host in ("127.0.0.1", "::1"):
            with running.connect(host) as connection:
                connection.sendall(request())
                assert read_response(connection)[0] == 200


class TestProtocol:
    def test_handler_is_given_decoded_path_and_joined_headers(self, start: Start) -> None:
        with start().connect() as connection:
            connection.sendall(b"GET /%65cho?a=%20&b HTTP/1.1\r\nHost: x\r\nX-A: 1\r\nx-a: 2\r\n\r\n")
            method, path, query, headers = json.loads(read_response(connection)[1])
        assert (method, path, query) == ("GET", "/echo", "a=%20&b")
        assert headers == {"host": "x", "x-a": "1,2"}

    @pytest.mark.parametrize("origin", ["http://x:9", "HTTPS://[::1]"])
    def test_absolute_url_stands_for_its_path(self, start: Start, origin: str) -> None:
        with start().connect() as connection:
            connection.sendall(request(f"{origin}/echo?a=http://y/"))
            _, path, query, _ = json.loads(read_response(connection)[1])
            assert (path, query) == ("/echo", "a=http://y/")
            connection.sendall(request(f"{origin}?a"))
            assert read_response(connection)[0] == 200

    def test_pipelined_requests_are_answered_in_order(self, start: Start) -> None:
        with start().connect() as connection:
            for number in range(20):
                connection.sendall(request(f"/echo?{number}"))
            connection.sendall(request("/-/healthy", Connection="close"))
            with connection.makefile("rb") as stream:
                received = stream.read()
        assert re.findall(rb'"/echo", "(\d+)"', received) == [str(number).encode() for number in range(20)]
        assert received.endswith(b"Tiny is healthy.\n")

    def test_pipelined_requests_are_not_read_far_ahead(self, start: Start) -> None:
        running = start()
        process = psutil.Process(running.process.pid)
        assert send_request(running.client())[0].status == 200
        running.hold()
        before = process.memory_info().rss
        with running.connect() as connection:
            ahead = request("/-/healthy") * 2000 + request("/metrics")
            ahead += request("/-/healthy", X="x" * 10_000) * 3000
            connection.settimeout(1)
            with pytest.raises(TimeoutError):
                connection.sendall(ahead)
            assert process.memory_info().rss - before < 5_000_000

    @pytest.mark.parametrize(
        ("headers", "body"),
        [
            ({"Content-Length": "100000"}, b"x" * 100_000),
            ({"Transfer-Encoding": "chunked"}, b"5\r\nhello\r\n4000\r\n" + b"x" * 0x4000 + b"\r\n0\r\n\r\n"),
        ],
        ids=["length", "chunked"],
    )
    def test_body_is_discarded(self, start: Start, headers: dict[str, str], body: bytes) -> None:
        with start().connect() as connection:
            for _ in range(2):
                connection.sendall(request("/-/healthy", **headers) + body)
                assert read_response(connection)[0] == 200

    def test_too_large_body_is_413(self, start: Start) -> None:
        with start(max_body_bytes=1000).connect() as connection:
            connection.sendall(request(**{"Content-Length": "1001"}) + b"x" * 1001)
            assert read_response(connection)[0] == 413
            assert is_reset(connection)

    @pytest.mark.parametrize(
        ("headers", "body", "status"),
        [({"Content-Length": "1001"}, b"x" * 1001, 413), ({"Transfer-Encoding": "chunked"}, b"x\r\n", 400)],
        ids=["too large", "malformed"],
    )
    def test_rejected_body_of_head_has_no_response_body(
        self, start: Start, headers: dict[str, str], body: bytes, status: int
    ) -> None:
        running = start(max_body_bytes=1000)
        with running.connect() as connection:
            connection.sendall(request(**headers).replace(b"GET", b"HEAD") + body)
            response = http.client.HTTPResponse(connection, method="HEAD")
            response.begin()
            assert response.status == status
            assert is_reset(connection)
        assert re.findall(r"level=(\w+)", running.log()) == ["info"]

    def test_malformed_request_after_head_is_400_with_a_body(self, start: Start) -> None:
        with start().connect() as connection:
            connection.sendall(b"HEAD /-/healthy HTTP/1.1\r\nHost: x\r\n\r\nx\r\n\r\n")
            received = b""
            while not received.endswith(b"\r\n\r\nbad request\n"):
                received += connection.recv(4096)
        assert re.findall(rb"^HTTP/1.1 (\d+)", received, re.MULTILINE) == [b"200", b"400"]

    def test_too_large_headers_are_400(self, start: Start) -> None:
        with start().connect() as connection:
            connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 40_000)
            assert read_response(connection)[0] == 400

    def test_expectation_is_met_before_the_body(self, start: Start) -> None:
        with start().connect() as connection:
            connection.sendall(request("/-/healthy", **{"Content-Length": "1", "Expect": "100-continue"}))
            assert connection.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
            connection.sendall(b"x")
            assert read_response(connection)[0] == 200

    @pytest.mark.parametrize("headers", [b"", b"Connection: keep-alive\r\n"])
    def test_http_1_0_is_answered_and_closed(self, start: Start, headers: bytes) -> None:
        with start().connect() as connection:
            connection.sendall(b"GET /-/healthy HTTP/1.0\r\n" + headers + b"\r\n")
            assert read_response(connection)[0] == 200
            assert connection.recv(1) == b""

    def test_failing_handler_is_500_and_logged(self, start: Start) -> None:
        running = start()
        client = running.client()
        response, body = send_request(client, "/bug")
        assert (response.status, body) == (500, b"internal server error\n")
        assert send_request(client, "/-/healthy")[0].status == 200
        (logged,) = [line for line in running.log().splitlines() if "level=error" in line]
        assert 'msg="Request handler failed" path=/bug err="RuntimeError: secret"' in logged

    def test_client_that_gives_up_is_noticed_during_a_collection(self, start: Start) -> None:
        running = start()
        running.hold()
        with running.connect() as connection:
            connection.sendall(request())
            until((running.folder / "collecting").exists, "a collection")
        until(lambda: own_sockets(running) == 0, "the end of the connection, while the collection lasts")
        running.release()
        assert send_request(running.client())[0].status == 200
        assert "level=error" not in running.log()
        assert "level=warn" not in running.log()

    def test_client_that_resets_during_a_response_is_not_logged(self, start: Start) -> None:
        running = start()
        (running.folder / "weight").write_text("20000000")
        for _ in range(3):
            with running.connect() as connection:
                connection.sendall(request())
                assert connection.recv(1000)
                # Unread data turns the close into a reset.
        until(lambda: own_sockets(running) == 0, "the end of the connections")
        assert re.findall(r"level=(\w+)", running.log()) == ["info"]


class TestTimeouts:
    @pytest.mark.parametrize("sent", [b"", b"G", b"GET /metrics HTTP/1.1\r\nHost: x\r\n"])
    def test_incomplete_request_is_reset(self, start: Start, sent: bytes) -> None:
        running = start(request_timeout=0.3)
        with running.connect() as connection:
            connection.sendall(sent)
            assert is_reset(connection)
        assert send_request(running.client())[0].status == 200

    def test_trickled_bytes_do_not_extend_request_timeout(self, start: Start) -> None:
        running = start(request_timeout=0.3)
        with running.connect() as connection:
            connection.sendall(b"GET /metrics HTTP/1.1\r\nX: ")

            def is_cut_off() -> bool:
                try:
                    connection.sendall(b"x")
                except ConnectionError:
                    return True
                return False

            until(is_cut_off, "the end of a request that never ends")

    def test_data_faster_than_parsed_do_not_extend_request_timeout(self, start: Start) -> None:
        running = start(request_timeout=0.3, max_body_bytes=10**9)
        tiny_chunks = b"1\r\nx\r\n" * 10_000
        with running.connect() as connection:
            connection.sendall(request(**{"Transfer-Encoding": "chunked"}))

            def is_cut_off() -> bool:
                try:
                    connection.sendall(tiny_chunks)
                except ConnectionError:
                    return True
                return False

            until(is_cut_off, "the end of a body that never ends")

    def test_incomplete_body_is_reset(self, start: Start) -> None:
        running = start(request_timeout=0.3)
        with running.connect() as connection:
            connection.sendall(request(**{"Content-Length": "10"}) + b"x")
            assert is_reset(connection)

    @pytest.mark.parametrize("pipelined", [False, True])
    def test_later_request_has_its_own_timeout(self, start: Start, pipelined: bool) -> None:
        running = start(request_timeout=0.3)
        incomplete = request()[:-2]
        with running.connect() as connection:
            connection.sendall(request() + incomplete if pipelined else request())
            assert read_response(connection)[0] == 200
            if not pipelined:
                connection.sendall(incomplete)
            assert is_reset(connection)

    def test_idle_and_slow_collection_exceed_request_timeout(self, start: Start) -> None:
        running = start(request_timeout=0.3)
        client = running.client()
        assert send_request(client, "/-/healthy")[0].status == 200
        sock = client.sock
        running.hold()
        with running.connect() as scraping, running.connect() as silent:
            scraping.sendall(request()[:9])
            # After this response the server has read the first part of the request.
            assert send_request(client, "/-/healthy")[0].status == 200
            scraping.sendall(request()[9:])
            # When this one exceeds its timeout, the others would have exceeded theirs.
            assert is_reset(silent)
            running.release()
            assert read_response(scraping)[0] == 200
        assert send_request(client)[0].status == 200
        assert client.sock is sock

    @pytest.mark.skipif(not hasattr(select, "poll"), reason="needs poll(), to see a reset without reading")
    def test_unread_response_is_reset(self, start: Start) -> None:
        running = start(write_timeout=0.3)
        (running.folder / "weight").write_text(str(20_000_000))
        with running.connect() as connection:
            connection.sendall(request())
            poll = select.poll()
            poll.register(connection, 0)
            assert poll.poll(20_000) == [(connection.fileno(), select.POLLERR | select.POLLHUP)]
        assert send_request(running.client(), "/-/healthy")[0].status == 200

    @pytest.mark.skipif(sys.platform != "linux", reason="depends on the socket buffers of Linux")
    def test_idle_connection_keeps_no_response_in_memory(self, start: Start) -> None:
        running = start()
        (running.folder / "weight").write_text(str(2_000_000))
        process = psutil.Process(running.process.pid)
        clients = [running.client() for _ in range(40)]
        for client in clients[:5]:
            assert send_request(client)[0].status == 200
        before = process.memory_info().rss
        for client in clients[5:]:
            assert send_request(client)[0].status == 200
        assert process.memory_info().rss - before < 20_000_000

    @pytest.mark.skipif(sys.platform != "linux", reason="depends on the socket buffers of Linux")
    def test_unread_responses_share_memory(self, start: Start) -> None:
        running = start()
        (running.folder / "weight").write_text(str(20_000_000))
        process = psutil.Process(running.process.pid)
        running.hold()
        connections = [running.connect() for _ in range(30)]
        for connection in connections:
            connection.sendall(request())
        assert send_request(running.client(), "/-/healthy")[0].status == 200
        running.release()
        for connection in connections:
            assert connection.recv(1000)
        # The memory of a few copies of the response, not of one for each connection.
        assert process.memory_info().rss < 300_000_000
        for connection in connections:
            connection.close()

    def test_response_read_late_keeps_connection(self, start: Start) -> None:
        running = start(write_timeout=1, request_timeout=1.5)
        (running.folder / "weight").write_text(str(20_000_000))
        with running.connect() as connection:
            connection.sendall(request())
            # More than fits into the buffers: the server waits for this client.
            assert read_response(connection)[0] == 200
            with running.connect() as silent:
                assert is_reset(silent)
            connection.sendall(request("/-/healthy"))
            assert read_response(connection)[0] == 200
