"""A machine per test module, and the files to install."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from . import base
from .machine import Machine, missing

ROOT: Final = Path(__file__).parents[2]
DIST: Final = ROOT / "dist"
PACKAGES: Final = "/root/packages"
OFFLINE: Final = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": PACKAGES}
"""pip's configuration on a machine without a network."""


@pytest.fixture(scope="module")
def machine(request: pytest.FixtureRequest) -> Iterator[Machine]:
    """Boot a machine without the exporter."""
    if reason := missing():
        pytest.skip(reason)
    with base.copy(request.module.__name__.rpartition("_")[2]) as root, Machine(root) as booted:
        yield booted


@pytest.fixture(scope="session")
def wheel() -> Path:
    """Return the wheel built by `make wheel`."""
    (built,) = DIST.glob("*.whl")
    return built


@pytest.fixture(scope="session")
def deb() -> Path:
    """Return the package built by `make deb`."""
    (built,) = DIST.glob("*.deb")
    return built


@pytest.fixture(scope="session")
def newer_wheel(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the same wheel as version 99.0."""
    old = wheel.name.split("-")[1]
    newer = tmp_path_factory.mktemp("newer") / wheel.name.replace(old, "99.0")
    with zipfile.ZipFile(wheel) as source, zipfile.ZipFile(newer, "w") as target:
        for entry in source.infolist():
            content = source.read(entry)
            if entry.filename.endswith("METADATA"):
                content = content.replace(f"Version: {old}".encode(), b"Version: 99.0", 1)
            if entry.filename == "exporter/__init__.py":
                content = b'__version__ = "99.0"\n'
            entry.filename = entry.filename.replace(f"-{old}.", "-99.0.")
            target.writestr(entry, content)
    return newer


@pytest.fixture(scope="session")
def packages() -> Path:
    """Return a directory with the wheels that requirements.lock and pipx need, for offline machines."""
    directory = base.cache() / "packages"
    shutil.rmtree(directory, ignore_errors=True)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    download = [*pip, "download", "--quiet", "--no-deps", "--only-binary", ":all:", "--dest", str(directory)]
    lock = ["--require-hashes", "--requirement", str(ROOT / "requirements.lock")]
    # Debian 12's Python, whichever runs the tests.
    subprocess.run([*download, "--python-version", "3.11", *lock], check=True)
    subprocess.run([*download, "pip", "setuptools", "wheel"], check=True)
    return directory


@pytest.fixture(scope="module")
def supplied(machine: Machine, packages: Path) -> Machine:
    """Return the machine with that directory."""
    shutil.copytree(packages, machine.path(PACKAGES))
    return machine
