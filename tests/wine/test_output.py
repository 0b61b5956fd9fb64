"""Output with names that the code page of a console does not have."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from ..live.helpers import Scrape
from .windows import Windows, stop, windows_path

pytestmark = pytest.mark.wine

HERE: Final = Path(__file__).parent
NAME: Final = "Drücker-Печать-日本"
LEAKED: Final = 120

each_code_page = pytest.mark.parametrize(
    "environment",
    [{"PYTHONIOENCODING": "ascii"}, {"PYTHONUTF8": "0"}],
    ids=["ASCII", "system"],
)


@pytest.fixture(scope="module")
def configuration(windows: Windows, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Run a program that leaks and yield the flag of a configuration that gives it the name."""
    windows.drop_sockets()
    file = tmp_path_factory.mktemp("output") / "names.yml"
    file.write_text(f"process_names: [{{name: {NAME}, comm: [python]}}]\n", encoding="utf-8")
    printer = windows.namespace.popen([sys.executable, "-PS", str(HERE / "printer.py")])
    assert printer.stdout is not None
    assert printer.stdout.readline() == "ready\n"
    spooler = windows.popen_python(HERE / "spooler.py", str(LEAKED))
    assert spooler.stdout is not None
    assert spooler.stdout.readline().strip().isdigit()
    yield f"--config.file={windows_path(file)}"
    stop(spooler)
    printer.kill()


@each_code_page
def test_metrics_are_utf_8(windows: Windows, configuration: str, environment: dict[str, str]) -> None:
    done = windows.python("-m", "exporter", "--once", configuration, env=environment)
    states = Scrape(done.stdout).by("socket_states", "process", state="close_wait")
    assert states == {(NAME,): LEAKED}


@each_code_page
def test_explain_names_the_process(windows: Windows, configuration: str, environment: dict[str, str]) -> None:
    done = windows.python("-m", "exporter", "explain", configuration, env=environment, check=False)
    assert (done.returncode, done.stderr) == (1, "")
    assert f"{LEAKED} connections" in done.stdout


def test_explain_as_json_has_the_name(windows: Windows, configuration: str) -> None:
    environment = {"PYTHONIOENCODING": "ascii"}
    done = windows.python("-m", "exporter", "explain", "--json", configuration, env=environment, check=False)
    assert NAME in done.stdout or NAME in json.dumps(json.loads(done.stdout), ensure_ascii=False)
