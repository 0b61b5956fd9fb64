"""The command `socket-state-exporter`: what it does before it imports the rest."""

from __future__ import annotations

import subprocess
import sys

import pytest

from exporter.__main__ import main


def test_library_that_cannot_be_loaded_is_named_without_a_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delitem(sys.modules, "exporter.cli", raising=False)
    monkeypatch.setitem(sys.modules, "psutil", None)  # an import of it raises ImportError
    for name in ("exporter.portable.process_usage", "exporter.portable.psutil_process"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.delattr("exporter.cli", raising=False)
    assert main(["--once"]) == 1
    assert capsys.readouterr().err.startswith("socket-state-exporter: cannot load psutil")


@pytest.mark.skipif(sys.platform == "win32", reason="about the other systems")
@pytest.mark.parametrize("action", ["install", "remove", "run"])
def test_service_is_refused_outside_windows(action: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["service", action]) == 2
    assert "`service` is for Windows" in capsys.readouterr().err


def test_service_run_imports_little_before_it_answers() -> None:
    code = (
        "import sys; import exporter.__main__, exporter.service, exporter.windows.service_host; "
        "print(sorted({'prometheus_client', 'psutil', 'yaml', 'msgspec', 'h11', 'asyncio', 'exporter.cli'} "
        "& set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
