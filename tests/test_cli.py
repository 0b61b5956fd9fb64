"""The command as its users call it."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from exporter import __version__, cli
from exporter.model.host import EphemeralRange, SysctlLimits
from exporter.portable.psutil_process import PsutilProcessReader
from exporter.procfs.process_reader import ProcfsProcessReader

from .running import run, running, samples, until, value

linux = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")


@pytest.fixture
def configuration(tmp_path: Path) -> Path:
    return tmp_path / "config.yml"


def test_the_version_is_told() -> None:
    told = run("--version")
    assert (told.returncode, told.stdout.split()[:2]) == (0, ["socket-state-exporter", __version__])


def test_the_wheel_is_what_is_tested_when_it_should_be() -> None:
    if os.environ.get("SOCKET_STATE_EXPORTER_WHEEL"):
        assert "site-packages" in cli.__file__


@linux
def test_once_prints_the_metrics() -> None:
    printed = run("--once")
    assert printed.returncode == 0
    assert value(printed.stdout, "socket_host_states", state="listen") is not None
    assert value(printed.stdout, "socket_exporter_build_info", source="netlink", version=__version__) == 1
    assert "source=netlink" in printed.stderr


def test_once_with_psutil_says_so() -> None:
    printed = run("--once", "--source=psutil")
    assert printed.returncode == 0
    assert value(printed.stdout, "socket_exporter_build_info", source="psutil") == 1
    assert "source=psutil" in printed.stderr


@linux
def test_a_part_that_fails_leaves_the_rest_and_is_told(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)):
        printed = run("--once", f"--path.procfs={tmp_path}")
    assert printed.returncode == 1
    assert value(printed.stdout, "socket_scrape_collector_success", collector="owners") == 0
    assert value(printed.stdout, "socket_scrape_collector_success", collector="states") == 1
    assert (value(printed.stdout, "socket_host_states", state="listen") or 0) >= 1
    assert printed.stderr.count("Collector failed") >= 1


@linux
def test_owners_can_be_left_out() -> None:
    with socket.create_server(("127.0.0.1", 0)):
        printed = run("--once", "--no-collector.owners").stdout
    processes = {sample.labels["process"] for sample in samples(printed) if sample.name == "socket_states"}
    assert processes == {"unknown"}
    assert (value(printed, "socket_exporter_unowned_sockets", reason="disabled") or 0) >= 1


def test_a_good_configuration_is_called_fine(configuration: Path) -> None:
    configuration.write_text("max_series: 500\n")
    checked = run("--config.check", f"--config.file={configuration}")
    assert (checked.returncode, checked.stdout) == (0, f"{configuration}: fine\n")


def test_a_bad_configuration_is_told_with_its_place(configuration: Path) -> None:
    configuration.write_text("process_names:\n- name: a\n  cmdline: ['print(d']\n")
    refused = run("--once", f"--config.file={configuration}")
    assert refused.returncode == 2
    assert refused.stdout == ""
    place = f"{configuration}: process_names[0].cmdline[0]: "
    assert f"{place}missing ): print(d" in refused.stderr


@linux
def test_processes_are_named_by_the_configuration(configuration: Path) -> None:
    configuration.write_text("process_names:\n- name: 'the tests'\n  cmdline: ['.']\n")
    with socket.create_server(("127.0.0.1", 0)):
        printed = run("--once", f"--config.file={configuration}").stdout
    processes = {sample.labels["process"] for sample in samples(printed) if sample.name == "socket_states"}
    assert "the tests" in processes


@pytest.mark.parametrize(
    "flags",
    [
        ["--web.listen-address=nonsense"],
        ["--web.listen-address=127.0.0.1:70000"],
        ["--web.telemetry-path=metrics"],
        ["--source=magic"],
        ["--log.level=loud"],
        ["--no-such-flag"],
        ["--config.file=/no/such/file.yml"],
        ["--json"],
        ["explain", "--once"],
        ["explain", "explain"],
        ["explain", "--config.file=/no/such/file.yml"],
        ["--source=psutil", "explain"],
    ],
)
def test_misuse_exits_with_status_2_and_says_why(flags: list[str]) -> None:
    refused = run(*flags)
    assert refused.returncode == 2
    assert refused.stderr
    assert "Traceback" not in refused.stderr


def test_an_address_in_use_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        refused = run(f"--web.listen-address={address}")
    assert refused.returncode == 1
    assert address in refused.stderr
    assert "Traceback" not in refused.stderr


def test_exit_status_of_explain_agrees_with_its_summary() -> None:
    told = run("explain")
    summary = told.stdout.partition("\n")[0]
    assert (told.returncode == 0) == summary.startswith("No problems found")
    assert "TCP socket" in told.stdout
    assert "Traceback" not in told.stderr


def test_explain_tells_other_programs_the_same() -> None:
    told = run("explain", "--json", "--source=psutil")
    found = json.loads(told.stdout)
    assert (found["version"], found["source"]) == (__version__, "psutil")
    assert (told.returncode == 0) == found["summary"].startswith("No problems found")


@linux
def test_explain_names_processes_as_the_configuration_says(configuration: Path) -> None:
    configuration.write_text("process_names:\n- name: 'the tests'\n  cmdline: ['.']\n")
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener, socket.socket() as client:
        # One connection more than may wait: the accept queue is full.
        client.connect(listener.getsockname())
        told = run("explain", f"--config.file={configuration}")
        port = listener.getsockname()[1]
    assert told.returncode == 1
    assert "the tests (pid" in told.stdout
    title = f"accepts too slowly: the accept queue of port {port} is full"
    assert title in " ".join(told.stdout.split())


@linux
def test_explain_says_with_its_status_that_it_could_not_look() -> None:
    refusing = "import sys, exporter.cli as cli\ndef refuse(*_): raise cli.NetlinkError('refused')\n"
    script = f"{refusing}cli.choose_source = refuse\nsys.exit(cli.main(['explain']))"
    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (told.returncode, told.stdout) == (2, "")
    assert "Sockets cannot be read" in told.stderr
    assert "Traceback" not in told.stderr


@linux
def test_the_page_says_what_explain_says(tmp_path: Path) -> None:
    with running(tmp_path / "log") as exporter:
        page = exporter.get("/")
        assert "roblems found" in page or "problem found" in page
        assert "Sockets by state" in page
        assert '<a href="./metrics">' in page


@linux
def test_the_page_can_be_reduced_to_links(tmp_path: Path) -> None:
    with running(tmp_path / "log", "--web.disable-status-page") as exporter:
        page = exporter.get("/")
        assert "found" not in page
        assert '<a href="./metrics">' in page


@linux
def test_it_serves_until_it_is_told_to_stop(tmp_path: Path) -> None:
    with running(tmp_path / "log", "--web.listen-address=127.0.0.2:0") as exporter:
        for _ in until("it listens on both addresses"):
            addresses = re.findall(r"address=(\S+)", exporter.log.read_text())
            if len(addresses) == 2:
                break
        assert ["127.0.0.1", "127.0.0.2"] == [address.partition(":")[0] for address in addresses]
        first, second = exporter.get(), exporter.get()
        assert value(second, "socket_host_states", state="established") is not None
        assert value(first, "process_resident_memory_bytes")
        exporter.process.send_signal(signal.SIGTERM)
        assert exporter.process.wait(10) == 0
    assert "Traceback" not in exporter.log.read_text()


@linux
def test_it_looks_once_before_it_is_asked(tmp_path: Path) -> None:
    """What fails is in the log at once, and ages are known from the start."""
    with running(tmp_path / "log", f"--path.procfs={tmp_path}") as exporter:
        for _ in until("it has looked"):
            if "Collector failed" in exporter.log.read_text():
                break


@linux
def test_its_own_metrics_can_be_left_out(tmp_path: Path) -> None:
    with running(
        tmp_path / "log", "--web.disable-exporter-metrics", "--web.telemetry-path=/sockets"
    ) as exporter:
        assert "process_resident_memory_bytes" not in exporter.get("/sockets")


@pytest.mark.parametrize(
    ("platform", "reader"),
    [
        ("linux", ProcfsProcessReader),
        ("win32", PsutilProcessReader),
        ("darwin", PsutilProcessReader),
        ("freebsd14", PsutilProcessReader),
    ],
)
def test_each_system_has_its_process_reader(
    monkeypatch: pytest.MonkeyPatch, platform: str, reader: type
) -> None:
    monkeypatch.setattr(sys, "platform", platform)
    assert isinstance(cli.process_reader(Path("/proc")), reader)


def test_limits_are_read_from_the_source_of_each_system(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    sysctls = tmp_path / "sys/net/ipv4"
    sysctls.mkdir(parents=True)
    (sysctls / "ip_local_port_range").write_text("32768\t60999\n")
    monkeypatch.setattr(cli, "read_registry", lambda: SysctlLimits(time_wait_seconds=30.0))
    ranges = {}
    for platform in ("linux", "win32", "darwin", "freebsd14"):
        with monkeypatch.context() as patch:
            patch.setattr(sys, "platform", platform)
            limits = cli.read_limits(tmp_path)
        ranges[platform] = (limits.ephemeral, limits.time_wait_seconds)
    assert ranges == {
        "linux": (EphemeralRange(32768, 60999), 60.0),
        "win32": (None, 30.0),
        "darwin": (None, None),
        "freebsd14": (None, None),
    }
