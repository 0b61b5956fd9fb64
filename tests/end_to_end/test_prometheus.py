"""A real Prometheus scrapes the running exporter."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest

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


@pytest.fixture
def prometheus(tmp_path: Path, exporter: Exporter) -> Iterator[str]:
    with watching(tmp_path, exporter) as address:
        yield address


@contextmanager
def watching(tmp_path: Path, exporter: Exporter) -> Iterator[str]:
    """The address of a Prometheus that scrapes the exporter each second."""
    configuration = tmp_path / "prometheus.yml"
    configuration.write_text(CONFIGURATION.format(target=exporter.url.removeprefix("http://")))
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
    """The result of an instant query; nothing while Prometheus does not answer yet."""
    url = f"http://{prometheus}/api/v1/query?{urllib.parse.urlencode({'query': expression})}"
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            result: list[dict[str, Any]] = json.load(answer)["data"]["result"]
            return result
    except OSError:
        return []


def test_prometheus_scrapes_what_is_there(prometheus: str, exporter: Exporter) -> None:
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


def test_being_scraped_leaves_no_time_wait_behind(prometheus: str, exporter: Exporter) -> None:
    for _ in until("Prometheus has scraped five times"):
        scraped = query(prometheus, "count_over_time(up[1m])")
        if scraped and int(scraped[0]["value"][1]) >= 5:
            break
    port = exporter.url.rpartition(":")[2]
    listed = subprocess.run(
        ["ss", "-Htan", "state", "time-wait", f"( sport = :{port} )"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert listed.stdout == ""


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")
def test_a_scrape_that_takes_too_long_is_in_time_for_prometheus(tmp_path: Path) -> None:
    """It is not down: it has the host's totals, and says what lacks."""
    with (
        socket.create_server(("127.0.0.1", 0)) as held,
        running(
            tmp_path / "exporter.log", f"--path.procfs={HungProc(tmp_path / 'proc', held).root}"
        ) as exporter,
        watching(tmp_path, exporter) as prometheus,
    ):
        for _ in until("the part that is ready is in Prometheus"):
            if query(prometheus, "up == 1") and query(prometheus, 'socket_host_states{state="listen"} > 0'):
                break
        missing = query(prometheus, "socket_scrape_collector_success == 0")
        assert {result["metric"]["collector"] for result in missing} >= {"states", "owners", "close-wait"}
        assert query(prometheus, "socket_states") == []
