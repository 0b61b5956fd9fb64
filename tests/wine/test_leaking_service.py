"""A service that leaks: `explain` names it, and the command that restarts it."""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from ..running import until
from . import base
from .windows import Windows, windows_path

pytestmark = pytest.mark.wine

LEAKED: Final = 130
HERE: Final = Path(__file__).parent
NAME: Final = "LeakyPrinting"
PROGRAM: Final = "leakprint.exe"
CLOSE_WAIT: Final = ["ss", "-Htn", "state", "close-wait"]


@pytest.fixture(scope="module")
def report(windows: Windows) -> Iterator[dict[str, Any]]:
    """Yield the report on the service, with the text of it as `text`."""
    windows.drop_sockets()
    printer = windows.namespace.popen([sys.executable, "-PS", str(HERE / "printer.py")])
    try:
        assert printer.stdout is not None
        assert printer.stdout.readline() == "ready\n"
        program, script = executable(windows), windows_path(HERE / "leaking_service.py")
        command = f"{windows_path(program)} {script} {LEAKED}"
        windows.run("sc", "create", NAME, "binPath=", command, "type=", "own", "start=", "demand")
        windows.run("sc", "start", NAME)
        for _ in until("all connections are in CLOSE_WAIT", 30):
            if len(windows.namespace.run(CLOSE_WAIT).stdout.splitlines()) == LEAKED:
                break
        text = windows.python("-m", "exporter", "explain", check=False).stdout
        document = windows.python("-m", "exporter", "explain", "--json", check=False).stdout
        yield json.loads(document) | {"text": text}
    finally:
        windows.run("taskkill", "/F", "/IM", PROGRAM, check=False)
        windows.run("sc", "delete", NAME, check=False)
        printer.kill()
        printer.wait()


def executable(windows: Windows) -> Path:
    """Return a copy of python.exe that a service can run: the file `._pth` replaces environment variables."""
    folder, python = windows.drive / "leaking", base.windows_python()
    folder.mkdir()
    for path in python.glob("*.dll"):
        shutil.copy(path, folder)
    paths = [windows_path(python / name) for name in ("Lib", "DLLs")]
    (folder / "leakprint._pth").write_text("\n".join(paths))
    return Path(shutil.copy(python / "python.exe", folder / PROGRAM))


def test_explain_names_the_service_and_the_command_that_restarts_it(report: dict[str, Any]) -> None:
    text = " ".join(report["text"].split())
    title = (
        rf"leakprint \(service {NAME}, pid \d+\) has {LEAKED} connections that the servers it called on port"
    )
    assert re.search(title, text)
    assert f"`Restart-Service {NAME}`" in text


def test_json_has_the_service(report: dict[str, Any]) -> None:
    (finding,) = [finding for finding in report["findings"] if finding["kind"] == "close_wait"]
    (process,) = finding["processes"]
    assert (process["name"], process["services"]) == ("leakprint", [NAME])


def test_report_has_no_words_of_linux(report: dict[str, Any]) -> None:
    assert not re.search(r"\broot\b|sysctl|net\.|/proc|CAP_|namespace|file descriptor", report["text"])
