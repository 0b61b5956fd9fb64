"""TLS: handshakes, timeouts, and alerts for refused clients."""

from __future__ import annotations

import http.client
import select
import signal
import ssl
import subprocess
import time
from pathlib import Path

import pytest

from ..certificates import Authority, self_signed
from ..tools import require
from .servers import Running, Start, collections, is_reset, request, send_request, time_waits, until

pytestmark = require("openssl")


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

    def test_connection_is_kept_alive(self, start: Start) -> None:
        running = start()
        (running.folder / "weight").write_text(str(1_000_000))
        client = self.client(running)
        first, body = send_request(client)
        assert (first.status, collections(body), len(body) > 1_000_000) == (200, 1, True)
        sock = client.sock
        assert isinstance(sock, ssl.SSLSocket)
        assert sock.version() == "TLSv1.3"
        assert collections(send_request(client)[1]) == 2
        assert client.sock is sock
        client.close()
        assert time_waits(running.ports[0]) == 0

    @pytest.mark.parametrize(
        "sent", [b"", b"\x16", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"], ids=["", "byte", "half"]
    )
    def test_stalled_handshake_is_reset(self, start: Start, sent: bytes) -> None:
        running = start(request_timeout=0.3)
        with running.connect() as connection:
            connection.sendall(sent)
            assert is_reset(connection)
        assert send_request(self.client(running))[0].status == 200
        assert time_waits(running.ports[0]) == 0

    def test_handshake_and_first_request_share_a_timeout(self, start: Start) -> None:
        running = start(request_timeout=3)
        context = ssl.create_default_context(cafile=str(running.folder / "ca.pem"))
        with running.connect() as raw:
            time.sleep(1.5)
            with context.wrap_socket(raw, server_hostname="localhost") as slow, running.connect() as later:
                slow.sendall(b"GET /metr")
                is_reset(slow)
                # `later` connected after the handshake of `slow`: its timeout has not expired.
                assert select.select([later], [], [], 0)[0] == []
                assert is_reset(later)
        assert time_waits(running.ports[0]) == 0

    @pytest.mark.parametrize("sent", [request(), b"rubbish" * 100, b"\x16\x03\x01\x00\x05hello"])
    def test_client_without_tls_is_closed_and_logged_once(self, start: Start, sent: bytes) -> None:
        running = start()
        with running.connect() as connection:
            connection.sendall(sent)
            assert select.select([connection], [], [], 5)[0], "closed only by the timeout"
            is_reset(connection)
        with running.connect() as connection:
            connection.sendall(sent)
            is_reset(connection)
        assert time_waits(running.ports[0]) == 0
        assert send_request(self.client(running))[0].status == 200
        assert "Traceback" not in running.log()
        (logged,) = [line for line in running.log().splitlines() if "TLS" in line]
        assert (
            'level=info msg="TLS handshake failed (further failures with this reason are logged at debug)"'
            " reason=" in logged
        )
        assert [line for line in running.log().splitlines() if "level=info" not in line] == []

    def test_scrape_succeeds_while_handshakes_stall(self, start: Start) -> None:
        running = start()
        silent = [running.connect() for _ in range(50)]
        assert send_request(self.client(running))[0].status == 200
        for connection in silent:
            connection.close()

    def test_signal_resets_handshakes_and_waits_for_scrape(self, start: Start) -> None:
        running = start()
        client = self.client(running)
        running.hold()
        client.request("GET", "/metrics")
        until((running.folder / "collecting").exists, "a collection")
        with running.connect() as silent:
            send_request(self.client(running), "/-/healthy")
            running.process.send_signal(signal.SIGTERM)
            assert is_reset(silent)
            running.release()
            response = client.getresponse()
            assert (response.status, collections(response.read())) == (200, 1)
        assert running.process.wait(20) == 0

    def test_signal_closes_idle_connections_by_close_notify(self, start: Start) -> None:
        running = start()
        client = self.client(running)
        assert send_request(client, "/-/healthy")[0].status == 200
        assert isinstance(client.sock, ssl.SSLSocket)
        client.sock.suppress_ragged_eofs = False
        running.process.send_signal(signal.SIGTERM)
        assert client.sock.recv(1) == b""
        assert running.process.wait(5) == 0

    @pytest.mark.skipif(not hasattr(select, "poll"), reason="needs poll(), to see a reset without reading")
    def test_unread_response_is_reset(self, start: Start) -> None:
        running = start(write_timeout=0.5)
        (running.folder / "weight").write_text(str(20_000_000))
        client = self.client(running)
        client.request("GET", "/metrics")
        poll = select.poll()
        poll.register(client.sock, 0)
        assert poll.poll(20_000) == [(client.sock.fileno(), select.POLLERR | select.POLLHUP)]

    def test_response_read_late_keeps_connection(self, start: Start) -> None:
        running = start(write_timeout=1, request_timeout=1.5)
        (running.folder / "weight").write_text(str(20_000_000))
        client = self.client(running)
        assert send_request(client)[0].status == 200
        with running.connect() as silent:
            assert is_reset(silent)
        assert send_request(client, "/-/healthy")[0].status == 200


class TestRefusal:
    """A client whose handshake fails gets an alert with the reason."""

    @pytest.fixture
    def running(self, start: Start, tmp_path: Path) -> Running:
        authority = Authority(tmp_path)
        authority.sign("server")
        authority.sign("friend")
        self_signed(tmp_path, "stranger")
        (tmp_path / "web.yml").write_text(
            "tls_server_config: {cert_file: server.pem, key_file: server.key, client_ca_file: ca.pem, "
            "client_auth_type: RequireAndVerifyClientCert}\n"
        )
        return start()

    REFUSALS = (
        # TLS 1.2 has no specific alert for it (RFC 5246, 7.4.6).
        ("1.2", None, "alert handshake failure"),
        ("1.2", "stranger", "alert unknown ca"),
        ("1.3", None, "alert certificate required"),
        ("1.3", "stranger", "alert unknown ca"),
    )

    @pytest.mark.parametrize(("version", "certificate", "alert"), REFUSALS)
    def test_openssl_shows_the_alert(
        self, running: Running, version: str, certificate: str | None, alert: str
    ) -> None:
        assert alert in s_client(running, certificate, f"-tls{version.replace('.', '_')}")
        assert time_waits(running.ports[0]) == 0

    @require("curl")
    @pytest.mark.parametrize(("version", "certificate", "alert"), REFUSALS)
    def test_curl_shows_the_alert(
        self, running: Running, version: str, certificate: str | None, alert: str
    ) -> None:
        result = curl(running, certificate, "--tlsv" + version, "--tls-max", version)
        assert alert in result.stderr
        assert time_waits(running.ports[0]) == 0

    def test_outdated_version_is_named(self, running: Running) -> None:
        output = s_client(running, "friend", "-tls1_1", "-cipher", "DEFAULT:@SECLEVEL=0")
        if "no protocols available" in output:
            pytest.skip("this openssl has no TLS 1.1")
        assert "alert protocol version" in output

    @require("curl")
    @pytest.mark.parametrize("version", ["1.2", "1.3"])
    def test_accepted_client_is_answered(self, running: Running, version: str) -> None:
        result = curl(running, "friend", "--tlsv" + version, "--tls-max", version)
        assert (result.returncode, result.stdout) == (0, "Tiny is healthy.\n")

    @pytest.mark.skipif(not hasattr(select, "poll"), reason="needs poll(), to see a reset without reading")
    def test_client_that_ignores_the_alert_is_reset(self, running: Running) -> None:
        context = ssl.create_default_context(cafile=str(running.folder / "ca.pem"))
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        with (
            running.connect() as raw,
            context.wrap_socket(raw, server_hostname="localhost") as connection,
        ):
            began = time.monotonic()
            poll = select.poll()
            poll.register(connection, 0)
            assert poll.poll(20_000) == [(connection.fileno(), select.POLLERR | select.POLLHUP)]
            assert 0.5 < time.monotonic() - began < 5
        assert time_waits(running.ports[0]) == 0

    def test_plain_http_on_the_tls_port_is_400(self, running: Running) -> None:
        client = running.client()
        response, body = send_request(client)
        assert (response.status, response.headers["connection"]) == (400, "close")
        assert body == b"Client sent an HTTP request to an HTTPS server.\n"
        client.close()
        assert time_waits(running.ports[0]) == 0

    def test_waiting_for_a_refused_client_delays_no_other(self, running: Running) -> None:
        refused = [running.connect() for _ in range(20)]
        for connection in refused:
            connection.sendall(request())
        began = time.monotonic()
        context = ssl.create_default_context(cafile=str(running.folder / "ca.pem"))
        context.load_cert_chain(running.folder / "friend.pem", running.folder / "friend.key")
        client = http.client.HTTPSConnection("localhost", running.ports[0], timeout=20, context=context)
        assert send_request(client, "/-/healthy")[0].status == 200
        assert time.monotonic() - began < 0.9
        for connection in refused:
            connection.close()


def s_client(running: Running, certificate: str | None, *flags: str) -> str:
    """Return the output of `openssl s_client` for a request, with or without a client certificate."""
    words = ["openssl", "s_client", "-connect", f"127.0.0.1:{running.ports[0]}", "-quiet", *flags]
    if certificate:
        words += [
            "-cert",
            f"{running.folder}/{certificate}.pem",
            "-key",
            f"{running.folder}/{certificate}.key",
        ]
    with subprocess.Popen(
        words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as client:
        assert client.stdin
        assert client.stdout
        # Kept open, since s_client closes when its input ends.
        with client.stdin as speech:
            speech.write(b"GET /-/healthy HTTP/1.0\r\n\r\n")
            speech.flush()
            return client.stdout.read().decode()


def curl(running: Running, certificate: str | None, *flags: str) -> subprocess.CompletedProcess[str]:
    words = ["curl", "-sS", "--cacert", f"{running.folder}/ca.pem", *flags]
    if certificate:
        words += [
            "--cert",
            f"{running.folder}/{certificate}.pem",
            "--key",
            f"{running.folder}/{certificate}.key",
        ]
    url = f"https://localhost:{running.ports[0]}/-/healthy"
    return subprocess.run([*words, url], capture_output=True, text=True, timeout=30, check=False)
