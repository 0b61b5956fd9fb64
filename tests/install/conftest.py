"""A machine for each module, and what is installed on it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from . import base
from .machine import Machine, missing

ROOT: Final = Path(__file__).parents[2]
DIST: Final = ROOT / "dist"


@pytest.fixture(scope="module")
def machine(request: pytest.FixtureRequest) -> Iterator[Machine]:
    """A machine with nothing of ours on it."""
    if reason := missing():
        pytest.skip(reason)
    with base.copy(request.module.__name__.rpartition("_")[2]) as root, Machine(root) as booted:
        yield booted


@pytest.fixture(scope="session")
def wheel() -> Path:
    """What `make wheel` has built."""
    (built,) = DIST.glob("*.whl")
    return built


@pytest.fixture(scope="session")
def deb() -> Path:
    """What `make deb` has built."""
    (built,) = DIST.glob("*.deb")
    return built


@pytest.fixture(scope="session")
def newer_wheel(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same as version 99."""
    return renumbered(wheel, tmp_path_factory.mktemp("newer"))


def renumbered(wheel: Path, directory: Path) -> Path:
    """A wheel of the same content that calls itself version 99."""
    unpacked = directory / "unpacked"
    subprocess.run([sys.executable, "-m", "wheel", "unpack", wheel, "-d", unpacked], check=True)
    return wheel


@pytest.fixture(scope="session")
def packages() -> Path:
    """A directory of what requirements.lock names and pipx wants, for machines without a network."""
    directory = base.cache() / "packages"
    directory.mkdir(exist_ok=True)
    download = [
        sys.executable,
        "-m",
        "pip",
        "--disable-pip-version-check",
        "download",
        "--quiet",
        "--no-deps",
    ]
    target = ["--only-binary", ":all:", "--python-version", "3.11", "--dest", directory]
    lock = ["--require-hashes", "--requirement", ROOT / "requirements.lock"]
    subprocess.run([*download, *target, *lock], check=True, env={**os.environ})
    subprocess.run([*download, *target, "pip", "setuptools", "wheel"], check=True)
    return directory
