"""The service: installed, scraped, stopped, changed and removed by the exporter's own command."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest

from . import base
from .clients import fetch_when_ready, states
from .windows import Windows, windows_path

pytestmark = pytest.mark.wine

PORT: Final = 10080
NAME: Final = "socket-state-exporter"
KEY: Final = r"HKLM\System\CurrentControlSet\Services\socket-state-exporter"
EVENTS_KEY: Final = r"HKLM\System\CurrentControlSet\Services\EventLog\Application\socket-state-exporter"

Service = Callable[..., str]


@pytest.fixture(scope="module")
def site_packages(windows: Windows) -> Path:
    """Return a folder with the exporter and, by way of a .pth file, the packages that it needs."""
    folder = windows.drive / "site packages"
    copy_exporter(folder)
    return folder


def copy_exporter(folder: Path) -> None:
    shutil.copytree(base.ROOT / "exporter", folder / "exporter", ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "packages.pth").write_text(windows_path(base.runtime_packages()) + "\n")


@pytest.fixture
def service(windows: Windows, site_packages: Path) -> Iterator[Service]:
    """Yield `service ACTION ...`, which returns its standard error."""
    path = ";".join(map(windows_path, (site_packages, base.runtime_packages())))

    def run(*arguments: str, status: int | None = 0) -> str:
        done = windows.python("-m", "exporter", "service", *arguments, check=False, env={"PYTHONPATH": path})
        assert status in (None, done.returncode), done.stderr
        return done.stderr

    yield run
    run("remove", status=None)


def query(windows: Windows, key: str) -> str:
    """Return the values of a key of the registry; empty if there is none."""
    done = windows.run("reg", "query", key, check=False)
    return "" if done.returncode else done.stdout


def log(windows: Windows) -> list[str]:
    path = windows.drive / "ProgramData" / NAME / f"{NAME}.log"
    return path.read_text(encoding="utf-8").splitlines()


def state(windows: Windows) -> str:
    output = windows.run("sc", "query", NAME, check=False).stdout
    return output.partition("STATE")[2].split()[2] if "STATE" in output else ""


def wait_until(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition is not met in time"
        time.sleep(0.2)


def test_service_is_installed_scraped_stopped_and_removed(windows: Windows, service: Service) -> None:
    service("install", f"--web.listen-address=127.0.0.1:{PORT}", "--service.firewall")
    assert state(windows) == "RUNNING"
    assert 'source="iphlpapi"' in fetch_when_ready(windows, PORT)
    values = query(windows, KEY)
    assert r"NT AUTHORITY\LocalService" in values
    assert 'python.exe" -I -B "' in values
    assert "EventCreate.exe" in query(windows, EVENTS_KEY)

    windows.run("net", "stop", NAME)
    assert state(windows) == "STOPPED"
    assert log(windows)[-1].endswith("msg=Stopped")
    assert "LISTEN" not in states(windows, PORT)

    service("remove")
    assert query(windows, KEY) == query(windows, EVENTS_KEY) == ""
    assert not (windows.drive / "ProgramData" / NAME).exists()


def test_installing_again_keeps_the_flags_or_replaces_them(windows: Windows, service: Service) -> None:
    service("install", f"--web.listen-address=127.0.0.1:{PORT}", "--log.level=debug")
    service("install")
    fetch_when_ready(windows, PORT)
    assert "--log.level=debug" in query(windows, KEY)
    service("install", f"--web.listen-address=127.0.0.1:{PORT + 1}")
    fetch_when_ready(windows, PORT + 1)
    assert "--log.level=debug" not in query(windows, KEY)
    assert "LISTEN" not in states(windows, PORT)


def test_service_that_cannot_serve_ends_with_its_reason_in_the_log(
    windows: Windows, service: Service
) -> None:
    service("install", "--service.no-start", "--web.listen-address=192.0.2.1:1")
    windows.run("net", "start", NAME, check=False)
    wait_until(lambda: state(windows) == "STOPPED")
    assert "Cannot listen" in log(windows)[-1]


def test_service_is_not_for_the_console(service: Service) -> None:
    assert "only the service manager can start this command (error 1063)" in service("run", status=1)


def test_removing_a_service_that_is_not_installed_fails(service: Service) -> None:
    assert "the service is not installed" in service("remove", status=1)


def test_invalid_flags_install_nothing(windows: Windows, service: Service) -> None:
    assert "expected a full path" in service("install", "--config.file=c.yml", status=2)
    assert "--no-such-flag" in service("install", "--no-such-flag", status=2)
    assert query(windows, KEY) == ""


def test_service_of_a_virtual_environment_runs_in_the_interpreter_below_it(windows: Windows) -> None:
    # The interpreter of a virtual environment starts the other one as a child, which cannot be the service.
    python = make_virtual_environment(windows.drive / "venv")
    copy_exporter(windows.drive / "venv" / "Lib" / "site-packages")

    def run(*arguments: str) -> None:
        windows.run(python, "-m", "exporter", "service", *arguments, env={"PYTHONPATH": ""})

    run("install", f"--web.listen-address=127.0.0.1:{PORT + 5}")
    try:
        fetch_when_ready(windows, PORT + 5)
        command = query(windows, KEY)
        assert f'"{windows_path(base.windows_python() / "python.exe")}" -I -B "' in command
        assert r"\venv\Lib\site-packages\exporter\windows\start_service.py" in command
    finally:
        run("remove")


def make_virtual_environment(folder: Path) -> Path:
    """Return its interpreter. Made by hand: Wine 8 lacks a function that the module venv calls."""
    home = base.windows_python()
    (folder / "Scripts").mkdir(parents=True)
    (folder / "pyvenv.cfg").write_text(f"home = {windows_path(home)}\nversion = 3.13.2\n")
    launcher = home / "Lib" / "venv" / "scripts" / "nt" / "venvlauncher.exe"
    return Path(shutil.copy(launcher, folder / "Scripts" / "python.exe"))
