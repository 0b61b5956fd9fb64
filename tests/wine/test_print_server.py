"""A print server freezes: its spooler keeps connections that the printers have closed.

A Windows program leaks; the exporter in Windows' Python names it in its metrics, in `explain`, on the status
page and in an alert. Wine knows the pids of connections that a program has made and used.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest

from ..demo import configuration
from ..demo.monitoring import ask
from ..demo.ports import HOME, Ports
from ..demo.programs import Programs
from ..end_to_end.inside import entered
from ..live.helpers import Scrape
from ..running import Exporter, until
from ..tools import require
from . import base
from .serving import serving
from .windows import Windows, stop, windows_path

pytestmark = pytest.mark.wine

LEAKED: Final = 130
HERE: Final = Path(__file__).parent
PORTS: Final = Ports()
ALERT_WITHIN: Final = 90.0
"""In seconds: ten until the connections count as stuck, then a few scrapes and evaluations."""


class Story(NamedTuple):
    """The spooler's pid as Windows knows it, and the exporter."""

    pid: int
    exporter: Exporter


@pytest.fixture(scope="module")
def story(windows: Windows, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    """Run the printer, the spooler and the exporter."""
    windows.drop_sockets()
    folder = tmp_path_factory.mktemp("story")
    printer = windows.namespace.popen([sys.executable, "-PS", str(HERE / "printer.py")])
    assert printer.stdout is not None
    assert printer.stdout.readline() == "ready\n"
    spooler = windows.popen(
        executable(windows, "spoolsv.exe"), HERE / "spooler.py", str(LEAKED),
        env={"PYTHONHOME": windows_path(base.windows_python())},
    )  # fmt: skip
    assert spooler.stdout is not None
    log = folder / "exporter.log"
    with serving(windows, log, port=PORTS.exporter) as exporter, entered(windows.namespace):
        yield Story(int(spooler.stdout.readline()), exporter)
    stop(spooler)
    printer.kill()


def executable(windows: Windows, name: str) -> Path:
    """Return a copy of python.exe with another name: Windows names processes by their files."""
    folder = windows.drive / "story"
    folder.mkdir()
    for path in base.windows_python().glob("*.dll"):
        shutil.copy(path, folder)
    return Path(shutil.copy(base.windows_python() / "python.exe", folder / name))


def test_metrics_name_the_program_and_the_port(story: Story) -> None:
    scrape = Scrape(story.exporter.get())
    states = scrape.by("socket_states", "process", "remote_port", state="close_wait")
    assert states == {("spoolsv", "9100"): LEAKED}
    by_cause = scrape.by("socket_close_wait_sockets", "process", "cause")
    assert by_cause == {("spoolsv", "unknown"): LEAKED}


def test_explain_names_the_program_and_its_pid(windows: Windows, story: Story) -> None:
    done = windows.python("-m", "exporter", "explain", check=False)
    assert done.returncode == 1, done.stderr
    assert f"spoolsv (pid {story.pid})" in done.stdout
    assert f"{LEAKED} connections" in done.stdout


def test_explain_as_json_has_process_number_and_port(windows: Windows, story: Story) -> None:
    done = windows.python("-m", "exporter", "explain", "--json", check=False)
    (finding,) = [
        finding for finding in json.loads(done.stdout)["findings"] if finding["kind"] == "close_wait"
    ]
    assert finding["processes"] == [{"name": "spoolsv", "pids": [story.pid], "more_pids": 0, "services": []}]
    assert (finding["count"], finding["port"], finding["direction"]) == (LEAKED, 9100, "outbound")


def test_status_page_names_the_program(story: Story) -> None:
    assert f"spoolsv (pid {story.pid})" in story.exporter.get("/")


@require("prometheus")
@pytest.mark.usefixtures("story")
def test_alert_names_the_program(tmp_path: Path) -> None:
    configuration.write(tmp_path, PORTS)
    address = f"{HOME}:{PORTS.prometheus}"
    command = [
        "prometheus",
        f"--config.file={tmp_path / configuration.PROMETHEUS.name}",
        f"--storage.tsdb.path={tmp_path / 'prometheus'}",
        f"--web.listen-address={address}",
        "--log.level=warn",
    ]
    with Programs(tmp_path / "logs") as programs:
        programs.start("prometheus", command)
        alert = wait_for_alert(f"http://{address}", "CloseWaitStuck", "critical", programs)
    assert alert["labels"]["process"] == "spoolsv"
    assert (
        f"Process spoolsv on {HOME}:{PORTS.exporter} has kept {LEAKED} connections"
        in (alert["annotations"]["description"])
    )


def wait_for_alert(address: str, name: str, severity: str, programs: Programs) -> dict[str, Any]:
    """Wait for and return an alert that fires in Prometheus."""
    for _ in until(f"{name} fires", ALERT_WITHIN):
        assert not programs.ended(), programs.diagnostics()
        try:
            alerts = ask(f"{address}/api/v1/alerts")["data"]["alerts"]
        except OSError:
            continue
        for alert in alerts:
            labels = alert["labels"]
            if (labels["alertname"], labels["severity"], alert["state"]) == (name, severity, "firing"):
                found: dict[str, Any] = alert
                return found
    raise AssertionError
