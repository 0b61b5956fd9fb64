"""The zip and the MSI that `make windows` builds: in, a service that serves, and out with nothing left."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from . import base
from .clients import fetch_when_ready
from .test_service import EVENTS_KEY, KEY, NAME, query, state, wait_until
from .windows import Windows

pytestmark = pytest.mark.wine

PORT: Final = 10090
FOLDER: Final = f"Program Files/{NAME}"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "build", "--no-isolation", "--wheel", "--outdir", str(directory)]
    subprocess.run(build, cwd=base.ROOT, check=True, capture_output=True, timeout=120)
    (built,) = directory.glob("*.whl")
    return built


def build(wheel: Path, directory: Path) -> tuple[Path, Path]:
    """Return the zip and the MSI. Without _wmi.pyd, in which Wine 8 aborts."""
    if shutil.which("wixl") is None or shutil.which("msibuild") is None:
        pytest.skip("needs wixl and msibuild (Debian packages wixl, msitools)")
    command = [sys.executable, "-m", "deploy.windows", "--without", "_wmi.pyd", str(wheel), str(directory)]
    done = subprocess.run(command, cwd=base.ROOT, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    (archive,), (installer,) = directory.glob("*.zip"), directory.glob("*.msi")
    return archive, installer


@pytest.fixture(scope="module")
def built(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return build(wheel, tmp_path_factory.mktemp("windows"))


@pytest.fixture
def installed(windows: Windows, built: tuple[Path, Path]) -> Iterator[Path]:
    """Yield the folder of the exporter that the MSI has installed, on this host."""
    msiexec(windows, "/i", built[1], f"LISTEN_PORT={PORT}", "FIREWALL=1", "FLAGS=--log.level=debug")
    yield windows.drive / FOLDER
    windows.run("msiexec", "/x", built[1], "/qn", check=False)


def msiexec(windows: Windows, action: str, installer: Path, *properties: str) -> None:
    windows.run("msiexec", action, installer, "/qn", *properties, timeout=120)


def test_zip_has_the_same_bytes_when_built_again(
    wheel: Path, built: tuple[Path, Path], tmp_path: Path
) -> None:
    again, _ = build(wheel, tmp_path)
    assert again.read_bytes() == built[0].read_bytes()


def test_python_with_another_hash_is_refused(wheel: Path, tmp_path: Path) -> None:
    other = tmp_path / "python.zip"
    other.write_bytes(b"other")
    command = [sys.executable, "-m", "deploy.windows", "--python", str(other), "--python-sha256", "0" * 64]
    done = subprocess.run(
        [*command, str(wheel), str(tmp_path)], cwd=base.ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "the SHA-256 is not 000" in done.stderr


def test_msi_installs_a_service_that_serves_and_removes_everything(
    windows: Windows, built: tuple[Path, Path], installed: Path
) -> None:
    assert 'source="iphlpapi"' in fetch_when_ready(windows, PORT)
    command = query(windows, KEY)
    assert f'"C:\\Program Files\\{NAME}\\python.exe" -I -B "C:\\Program Files\\{NAME}\\' in command
    assert f"--web.listen-address=:{PORT} --log.level=debug --log.file=" in command
    # The command of the folder runs, too, and writes no bytecode.
    done = windows.run(f"C:\\Program Files\\{NAME}\\{NAME}.exe", "--once")
    assert "socket_host_states" in done.stdout
    assert not list(installed.rglob("*.pyc"))

    msiexec(windows, "/x", built[1])
    assert not installed.exists()
    assert query(windows, KEY) == query(windows, EVENTS_KEY) == ""
    assert not (windows.drive / "ProgramData" / NAME).exists()


def test_upgrade_replaces_the_product_and_its_service(
    windows: Windows, wheel: Path, installed: Path, tmp_path: Path
) -> None:
    fetch_when_ready(windows, PORT)
    newer = tmp_path / wheel.name.replace("-0.1.0-", "-0.2.0-")
    shutil.copy(wheel, newer)
    _, installer = build(newer, tmp_path / "built")
    # Unlike Windows, Wine compares files before it removes the old version: it skips equal ones, unless told
    # otherwise. It lacks UPGRADINGPRODUCTCODE: the service is removed, and needs its flags again.
    msiexec(windows, "/i", installer, "REINSTALLMODE=amus", f"LISTEN_PORT={PORT + 1}")
    try:
        assert 'source="iphlpapi"' in fetch_when_ready(windows, PORT + 1)
        assert (installed / "python.exe").exists()
        products = windows.run("reg", "query", UNINSTALL_KEY, "/s").stdout
        assert re.findall(r"DisplayVersion\s+REG_SZ\s+(\S+)", products) == ["0.2.0"]
    finally:
        msiexec(windows, "/x", installer)
    assert not installed.exists()


UNINSTALL_KEY: Final = r"HKLM\Software\Microsoft\Windows\CurrentVersion\Uninstall"


def test_zip_installs_with_its_script_and_leaves_nothing(windows: Windows, built: tuple[Path, Path]) -> None:
    folder = windows.drive / NAME
    with zipfile.ZipFile(built[0]) as archive:
        archive.extractall(windows.drive)
    try:
        address = f"--web.listen-address=127.0.0.1:{PORT}"
        windows.run("cmd", "/c", f"C:\\{NAME}\\install.cmd", address, "--service.firewall")
        assert 'source="iphlpapi"' in fetch_when_ready(windows, PORT)
        windows.run("cmd", "/c", f"C:\\{NAME}\\uninstall.cmd")
        wait_until(lambda: state(windows) == "")
        assert query(windows, KEY) == query(windows, EVENTS_KEY) == ""
        assert not (windows.drive / "ProgramData" / NAME).exists()
    finally:
        shutil.rmtree(folder)
