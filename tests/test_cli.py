"""The command line, run as users do."""

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

from .running import COMMAND, ELSEWHERE, run, running, samples, until, value
from .systems import needs_posix, unless_wine

linux = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")


@pytest.fixture
def configuration(tmp_path: Path) -> Path:
    return tmp_path / "config.yml"


def test_version_is_printed() -> None:
    result = run("--version")
    assert (result.returncode, result.stdout.split()[:2]) == (0, ["socket-state-exporter", __version__])


def test_wheel_is_imported_if_it_is_under_test() -> None:
    if os.environ.get("SOCKET_STATE_EXPORTER_WHEEL"):
        assert "site-packages" in cli.__file__


@linux
def test_once_prints_the_metrics() -> None:
    result = run("--once")
    assert result.returncode == 0
    assert value(result.stdout, "socket_host_states", state="listen") is not None
    assert value(result.stdout, "socket_exporter_build_info", source="netlink", version=__version__) == 1
    assert "source=netlink" in result.stderr


def test_once_with_psutil() -> None:
    result = run("--once", "--source=psutil")
    assert result.returncode == 0
    assert value(result.stdout, "socket_exporter_build_info", source="psutil") == 1
    assert "source=psutil" in result.stderr


@linux
def test_failed_collector_is_reported_and_others_work(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)):
        result = run("--once", f"--path.procfs={tmp_path}")
    assert result.returncode == 0
    assert value(result.stdout, "socket_scrape_collector_success", collector="owners") == 0
    assert value(result.stdout, "socket_scrape_collector_success", collector="states") == 1
    assert (value(result.stdout, "socket_host_states", state="listen") or 0) >= 1
    assert result.stderr.count("Collector failed") >= 1


@linux
def test_once_has_exit_status_1_if_nothing_could_be_read(tmp_path: Path) -> None:
    # Without /proc psutil has no sockets, and there are neither limits nor counters.
    result = run("--once", "--source=psutil", f"--path.procfs={tmp_path}")
    assert result.returncode == 1
    assert value(result.stdout, "socket_scrape_collector_success", collector="states") == 0
    assert value(result.stdout, "socket_scrape_collector_success", collector="limits") == 0


@unless_wine("listeners have no pid")
@pytest.mark.parametrize(
    "environment",
    [
        {"PYTHONIOENCODING": "gb18030"},
        {"PYTHONIOENCODING": "latin-1"},
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        {"LC_ALL": "zh_CN.GB18030"},
    ],
    ids=["GB18030", "Latin-1", "ASCII", "locale"],
)
def test_once_prints_utf_8_in_every_locale(configuration: Path, environment: dict[str, str]) -> None:
    configuration.write_text("process_names:\n- name: '日本'\n  cmdline: ['.']\n", encoding="utf-8")
    with socket.create_server(("127.0.0.1", 0)):
        result = subprocess.run(
            [*COMMAND, "--once", f"--config.file={configuration}"],
            env=os.environ | environment,
            cwd=ELSEWHERE,
            capture_output=True,
            check=True,
        )
    assert 'process="日本"' in result.stdout.decode("utf-8")
    assert b"Traceback" not in result.stderr


@needs_posix
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("target", [">/dev/full", ">&-"])
@pytest.mark.parametrize(
    ("command", "status"),
    [
        ("--once", 1),
        ("--version", 1),
        ("--help", 1),
        ("--config.check", 1),
        ("explain", 2),
        ("explain --json", 2),
        ("explain --help", 2),
        ("assets here", 1),
    ],
)
def test_unwritable_standard_output_is_an_error(
    tmp_path: Path, command: str, status: int, target: str
) -> None:
    environment = os.environ | {"PYTHONPATH": str(Path(cli.__file__).parent.parent)}
    result = subprocess.run(
        ["sh", "-c", f'exec "$@" {command} {target}', "sh", *COMMAND],
        cwd=tmp_path,
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    assert result.returncode == status
    *_, message = result.stderr.splitlines()
    assert message.startswith("socket-state-exporter: cannot write to standard output: ")
    assert "Traceback" not in result.stderr
    assert "Exception ignored" not in result.stderr


@linux
def test_owners_can_be_disabled() -> None:
    with socket.create_server(("127.0.0.1", 0)):
        result = run("--once", "--no-collector.owners").stdout
    processes = {sample.labels["process"] for sample in samples(result) if sample.name == "socket_states"}
    assert processes == {"unknown"}
    assert (value(result, "socket_exporter_unowned_sockets", reason="disabled") or 0) >= 1


def test_config_check_accepts_a_valid_file(configuration: Path) -> None:
    configuration.write_text("max_series: 500\n")
    result = run("--config.check", f"--config.file={configuration}")
    assert (result.returncode, result.stdout) == (0, f"{configuration}: OK\n")


def test_invalid_configuration_names_the_place(configuration: Path) -> None:
    configuration.write_text("process_names:\n- name: a\n  cmdline: ['print(d']\n")
    result = run("--once", f"--config.file={configuration}")
    assert result.returncode == 2
    assert result.stdout == ""
    position = f"{configuration}: process_names[0].cmdline[0]: "
    assert f"{position}missing ): print(d" in result.stderr


@linux
def test_processes_are_named_by_the_configuration(configuration: Path) -> None:
    configuration.write_text("process_names:\n- name: 'the tests'\n  cmdline: ['.']\n")
    with socket.create_server(("127.0.0.1", 0)):
        result = run("--once", f"--config.file={configuration}").stdout
    processes = {sample.labels["process"] for sample in samples(result) if sample.name == "socket_states"}
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
def test_usage_error_has_exit_status_2_and_a_message(flags: list[str]) -> None:
    result = run(*flags)
    assert result.returncode == 2
    assert result.stderr
    assert "Traceback" not in result.stderr


def test_address_in_use_is_an_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        result = run(f"--web.listen-address={address}")
    assert result.returncode == 1
    assert address in result.stderr
    assert "Traceback" not in result.stderr


def test_exit_status_of_explain_agrees_with_its_summary() -> None:
    result = run("explain")
    summary = result.stdout.partition("\n")[0]
    assert (result.returncode == 0) == summary.startswith("No problems found")
    assert "TCP socket" in result.stdout
    assert "Traceback" not in result.stderr


def test_explain_prints_json() -> None:
    result = run("explain", "--json", "--source=psutil")
    report = json.loads(result.stdout)
    assert (report["version"], report["source"]) == (__version__, "psutil")
    assert (result.returncode == 0) == report["summary"].startswith("No problems found")


@linux
def test_explain_names_processes_by_the_configuration(configuration: Path) -> None:
    configuration.write_text("process_names:\n- name: 'the tests'\n  cmdline: ['.']\n")
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener, socket.socket() as client:
        # The queue takes one more than the backlog: it is full.
        client.connect(listener.getsockname())
        result = run("explain", f"--config.file={configuration}")
        port = listener.getsockname()[1]
    assert result.returncode == 1
    assert "the tests (pid" in result.stdout
    title = f"accepts too slowly: the accept queue of port {port} is full"
    assert title in " ".join(result.stdout.split())


@linux
def test_explain_without_a_source_has_exit_status_2() -> None:
    failing_source = "import sys, exporter.cli as cli\ndef refuse(*_): raise cli.NetlinkError('refused')\n"
    script = f"{failing_source}cli.choose_source = refuse\nsys.exit(cli.main(['explain']))"
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout) == (2, "")
    assert "Cannot read sockets" in result.stderr
    assert "Traceback" not in result.stderr


@linux
def test_status_page_has_the_findings_and_links(tmp_path: Path) -> None:
    with running(tmp_path / "log") as exporter:
        page = exporter.get("/")
        assert "roblems found" in page or "problem found" in page
        assert "Sockets by state" in page
        assert '<a href="./metrics">' in page


@linux
def test_status_page_can_be_disabled(tmp_path: Path) -> None:
    with running(tmp_path / "log", "--web.disable-status-page") as exporter:
        page = exporter.get("/")
        assert "found" not in page
        assert '<a href="./metrics">' in page


@linux
def test_serves_all_addresses_until_sigterm(tmp_path: Path) -> None:
    with running(tmp_path / "log", "--web.listen-address=127.0.0.2:0") as exporter:
        for _ in until("the exporter listens on both addresses"):
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
def test_first_collection_precedes_the_first_scrape(tmp_path: Path) -> None:
    """Failures are logged immediately, and ages count from the start."""
    with running(tmp_path / "log", f"--path.procfs={tmp_path}") as exporter:
        for _ in until("the first collection"):
            if "Collector failed" in exporter.log.read_text():
                break


@linux
def test_metrics_of_the_exporter_can_be_disabled(tmp_path: Path) -> None:
    with running(
        tmp_path / "log", "--web.disable-exporter-metrics", "--web.telemetry-path=/sockets"
    ) as exporter:
        assert "process_resident_memory_bytes" not in exporter.get("/sockets")
