"""The subcommand `service`: its command line, and what it accepts."""

from __future__ import annotations

import sys
from pathlib import Path, PureWindowsPath

import pytest

from exporter import service

LOG = r"--log.file=C:\ProgramData\socket-state-exporter\socket-state-exporter.log"


@pytest.fixture(autouse=True)
def _log_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        service, "log_folder", lambda: PureWindowsPath(r"C:\ProgramData\socket-state-exporter")
    )


def test_command_quotes_the_program_and_the_flags() -> None:
    command = service.service_command(
        r"C:\Program Files\x\python.exe",
        [r"--config.file=C:\my files\c.yml", "--once"],
        r"C:\Program Files\x\start_service.py",
    )
    assert command == (
        r'"C:\Program Files\x\python.exe" -I -B "C:\Program Files\x\start_service.py" '
        r'"--config.file=C:\my files\c.yml" --once'
    )


def test_flags_are_found_in_the_command_of_an_installed_service() -> None:
    command = [r"C:\py\python.exe", "-I", "-B", r"C:\old\exporter\windows\start_service.py", "--a=1", "--b"]
    assert service.exporter_flags_of(command) == ["--a=1", "--b"]
    assert service.exporter_flags_of([r"C:\other\winsw.exe"]) == []


def test_script_of_the_service_exists() -> None:
    assert service.SERVICE_SCRIPT.is_file()


def test_service_has_a_log_file_and_the_default_port() -> None:
    assert service.complete_exporter_flags([]) == ([LOG], {10066})


def test_log_file_of_the_operator_is_kept() -> None:
    flags = [r"--log.file=D:\logs\s.log", "--web.listen-address=:1", "--web.listen-address=[::1]:2"]
    assert service.complete_exporter_flags(flags) == (flags, {1, 2})


@pytest.mark.parametrize(
    ("flag", "problem"),
    [
        ("--once", "a service serves"),
        ("--config.check", "a service serves"),
        ("--config.file=c.yml", r"c\.yml: expected a full path"),
        (r"--config.file=\c.yml", "expected a full path"),
        ("--web.config.file=C:w.yml", "expected a full path"),
        ("--web.listen-address=nowhere", "expected host:port"),
    ],
)
def test_flags_that_no_service_can_have_are_refused(flag: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        service.complete_exporter_flags([flag])


def test_flag_that_the_exporter_does_not_know_is_refused() -> None:
    with pytest.raises(ValueError, match="unrecognized arguments"):
        service.complete_exporter_flags(["--service.acct=x"])


def test_flags_that_a_removal_would_ignore_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        service.run_service_command(["remove", "--web.listen-address=:1"])
    assert "unrecognized arguments: --web.listen-address=:1" in capsys.readouterr().err


def test_interpreter_of_a_virtual_environment_is_the_one_below_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", r"C:\venv\Scripts\python.exe")
    monkeypatch.setattr(sys, "_base_executable", r"C:\Python313\python.exe", raising=False)
    assert service.interpreter() == r"C:\Python313\python.exe"


def test_log_folder_is_below_program_data(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    monkeypatch.setenv("PROGRAMDATA", "/data")
    assert service.log_folder() == Path("/data/socket-state-exporter")
