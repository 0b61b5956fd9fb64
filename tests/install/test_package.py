"""The .deb file: contents, lintian, and reproducible build."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import DIST, ROOT

pytestmark = pytest.mark.install


@pytest.fixture(scope="module")
def tree(deb: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the unpacked contents."""
    directory = tmp_path_factory.mktemp("deb")
    subprocess.run(["dpkg-deb", "--raw-extract", deb, directory], check=True)
    return directory


def test_lintian_reports_nothing(deb: Path) -> None:
    if not shutil.which("lintian"):
        pytest.skip("needs lintian (Debian package lintian)")
    output = subprocess.run(
        ["lintian", "--allow-root", "--tag-display-limit=0", deb], capture_output=True, text=True, check=False
    )
    assert output.stdout == ""


def test_package_build_is_reproducible(deb: Path, wheel: Path, tmp_path: Path) -> None:
    build = ROOT / "deploy/debian/build.sh"
    subprocess.run([build, sys.executable, wheel, tmp_path], check=True, capture_output=True)
    assert (tmp_path / deb.name).read_bytes() == deb.read_bytes()


def test_wheel_build_is_reproducible(wheel: Path, tmp_path: Path) -> None:
    build = [sys.executable, "-m", "build", "--no-isolation", "--outdir", tmp_path, ROOT]
    subprocess.run(build, check=True, capture_output=True)
    assert (tmp_path / wheel.name).read_bytes() == wheel.read_bytes()


@pytest.mark.parametrize("version", ["311", "312", "313", "314"])
def test_extension_modules_exist_for_every_python(tree: Path, version: str) -> None:
    lib = tree / "usr/lib/socket-state-exporter"
    modules = {path.relative_to(lib).as_posix().split(".")[0] for path in lib.rglob("*.so")}
    these = {
        path.relative_to(lib).as_posix().split(".")[0] for path in lib.rglob(f"*.cpython-{version}-*.so")
    }
    stable = {path.relative_to(lib).as_posix().split(".")[0] for path in lib.rglob("*.abi3.so")}
    assert modules == these | stable


@pytest.mark.parametrize("python", ["python3.11", "python3.12", "python3.13", "python3.14"])
def test_package_runs_with_each_supported_python(tree: Path, tmp_path: Path, python: str) -> None:
    """Only the Python versions of this host are tried."""
    path = shutil.which(python)
    if path is None or subprocess.run([path, "-c", ""], capture_output=True, check=False).returncode:
        pytest.skip(f"needs {python}")
    names = tmp_path / "names.yml"
    names.write_text("process_names: [{name: named, cmdline: ['.']}]")  # imports google-re2
    code = f"import sys; sys.path.insert(0, {str(tree / 'usr/lib/socket-state-exporter')!r}); "
    code += f"from exporter.cli import main; sys.exit(main(['--once', '--config.file={names}']))"
    done = subprocess.run([path, "-IS", "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "socket_host_states" in done.stdout


def test_package_contains_the_licenses_of_its_libraries(tree: Path) -> None:
    result = (tree / "usr/share/doc/socket-state-exporter/copyright").read_text()
    for library in ("google_re2", "h11", "msgspec", "prometheus_client", "psutil", "pyyaml"):
        assert f"== {library}-" in result


def test_package_contains_the_current_wheel(deb: Path, wheel: Path) -> None:
    assert deb.parent == wheel.parent == DIST
    assert deb.stat().st_mtime >= wheel.stat().st_mtime
