"""A real Prometheus that scrapes the running exporter."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

import pytest

from ..certificates import Authority
from ..faults.hung import HungProc
from ..running import Exporter, running, until
from ..tools import require

pytestmark = require("prometheus", "ss")

CONFIGURATION: Final = """
global: {{scrape_interval: 1s, scrape_timeout: 1s}}
scrape_configs:
- job_name: sockets
  static_configs: [{{targets: ["{target}"]}}]
"""


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


@pytest.fixture
def exporter(tmp_path: Path) -> Iterator[Exporter]:
    with running(tmp_path / "exporter.log") as exporter:
        yield exporter


SECURED: Final = """
  scheme: https
  tls_config: {ca_file: ca.pem, cert_file: client.pem, key_file: client.key, server_name: localhost}
  basic_auth: {username: prometheus, password_file: password}
  params: {"collect[]": [states, listeners]}
"""

WEB: Final = """
tls_server_config:
  cert_file: server.pem
  key_file: server.key
  client_ca_file: ca.pem
  client_auth_type: RequireAndVerifyClientCert
basic_auth_users: {prometheus: $2b$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW}
"""
"""The password is `secret`."""


@pytest.fixture
def prometheus(tmp_path: Path, exporter: Exporter) -> Iterator[str]:
    with scraping(tmp_path, exporter) as address:
        yield address


@contextmanager
def scraping(tmp_path: Path, exporter: Exporter, more: str = "") -> Iterator[str]:
    """Run a Prometheus that scrapes every second, with more settings in its scrape job; yield its address."""
    configuration = tmp_path / "prometheus.yml"
    configuration.write_text(CONFIGURATION.format(target=exporter.url.removeprefix("http://")) + more)
    address = f"127.0.0.1:{free_port()}"
    with (tmp_path / "prometheus.log").open("w") as log:
        process = subprocess.Popen(
            [
                "prometheus",
                f"--config.file={configuration}",
                f"--storage.tsdb.path={tmp_path / 'data'}",
                f"--web.listen-address={address}",
            ],
            stdout=log,
            stderr=log,
        )
    try:
        yield address
    finally:
        process.terminate()
        process.wait(20)


def query(prometheus: str, expression: str) -> list[dict[str, Any]]:
    """Return the result of an instant query; empty while Prometheus does not respond yet."""
    url = f"http://{prometheus}/api/v1/query?{urllib.parse.urlencode({'query': expression})}"
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            result: list[dict[str, Any]] = json.load(answer)["data"]["result"]
            return result
    except OSError:
        return []


def test_prometheus_scrapes_all_series(prometheus: str, exporter: Exporter) -> None:
    port = exporter.url.rpartition(":")[2]
    comm = Path(f"/proc/{exporter.process.pid}/comm").read_text().strip()
    own = f'socket_listener_accept_queue_limit{{process="{comm}", local_port="{port}"}}'
    for _ in until("the exporter's own listener is in Prometheus"):
        if query(prometheus, own):
            break
    assert [result["value"][1] for result in query(prometheus, "up")] == ["1"]
    assert query(prometheus, "min(socket_scrape_collector_success)")[0]["value"][1] == "1"
    difference = "sum by (state) (socket_states) - on (state) (socket_host_states != 0)"
    assert {result["value"][1] for result in query(prometheus, difference)} == {"0"}


@require("openssl")
def test_prometheus_scrapes_with_tls_and_client_certificate(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    for name in ("server", "client"):
        authority.sign(name)
    (tmp_path / "web.yml").write_text(WEB)
    (tmp_path / "password").write_text("secret")
    with (
        running(tmp_path / "exporter.log", f"--web.config.file={tmp_path}/web.yml") as exporter,
        scraping(tmp_path, exporter, SECURED) as prometheus,
    ):
        for _ in until("Prometheus has scraped it three times"):
            scraped = query(prometheus, "sum_over_time(up[1m])")
            if scraped and int(scraped[0]["value"][1]) >= 3:
                break
        assert query(prometheus, "socket_host_states")
        assert query(prometheus, "socket_listener_states or socket_listener_accept_queue_limit")
        assert query(prometheus, "socket_time_wait_limit") == []
        assert time_waits(exporter) == ""


@require("openssl")
def test_prometheus_shows_why_its_tls_handshake_is_refused(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    authority.sign("server")
    (tmp_path / "web.yml").write_text(WEB)
    without = "\n  scheme: https\n  tls_config: {ca_file: ca.pem, server_name: localhost}\n"
    with (
        running(tmp_path / "exporter.log", f"--web.config.file={tmp_path}/web.yml") as exporter,
        scraping(tmp_path, exporter, without) as prometheus,
    ):
        for _ in until("Prometheus has tried to scrape it"):
            if query(prometheus, "up"):
                break
        with urllib.request.urlopen(f"http://{prometheus}/api/v1/targets", timeout=10) as answer:
            (target,) = json.load(answer)["data"]["activeTargets"]
        assert "remote error: tls: certificate required" in target["lastError"]
        assert time_waits(exporter) == ""


def test_scrapes_leave_no_time_wait(prometheus: str, exporter: Exporter) -> None:
    for _ in until("Prometheus has scraped five times"):
        scraped = query(prometheus, "count_over_time(up[1m])")
        if scraped and int(scraped[0]["value"][1]) >= 5:
            break
    assert time_waits(exporter) == ""


def time_waits(exporter: Exporter) -> str:
    """Return the sockets that `ss` lists on the exporter's port."""
    port = exporter.url.rpartition(":")[2]
    command = ["ss", "-Htan", "state", "time-wait", f"( sport = :{port} )"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")
def test_slow_collection_is_served_within_scrape_timeout(tmp_path: Path) -> None:
    """The target is up, with the host's totals and the failed collectors."""
    with socket.create_server(("127.0.0.1", 0)) as held, ExitStack() as stack:
        proc = HungProc(tmp_path / "proc", held).hide()
        exporter = stack.enter_context(running(tmp_path / "exporter.log", f"--path.procfs={proc.root}"))
        for _ in until("the look is over that is made at the start"):
            if "Collector failed" in exporter.log.read_text():
                break
        proc.appear()
        prometheus = stack.enter_context(scraping(tmp_path, exporter))
        for _ in until("the part that is ready is in Prometheus"):
            if query(prometheus, "up == 1") and query(prometheus, 'socket_host_states{state="listen"} > 0'):
                break
        missing = query(prometheus, "socket_scrape_collector_success == 0")
        assert {result["metric"]["collector"] for result in missing} >= {"states", "owners", "close-wait"}
        assert query(prometheus, "socket_states") == []
