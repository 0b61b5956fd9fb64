"""Downloads of packages by the hashes of a lock file, for Windows, with pip on Linux."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from collections.abc import Collection
from pathlib import Path
from typing import Final

PYTHON_VERSION: Final = "3.13"

_PACKAGE: Final = re.compile(r"^([\w.-]+)==([^\\\n]+?) \\\n((?:    --hash=\S+(?: \\)?\n)+)", re.MULTILINE)


def download_packages(lock: Path, target: Path, names: Collection[str] | None = None) -> list[Path]:
    """Return the wheels of a lock file for 64 bit Windows, sorted by name.

    names: only these packages.
    """
    options = ["--only-binary", ":all:", "--platform", "win_amd64", "--implementation", "cp"]
    return _download(lock, target, names, [*options, "--python-version", PYTHON_VERSION])


def download_sdist(name: str, lock: Path, target: Path) -> Path:
    """Return the source archive of a package."""
    # Without dependencies and build isolation nothing of it is built, only its metadata.
    (archive,) = _download(lock, target, (name,), ["--no-binary", ":all:"])
    return archive


def select_requirements(lock: str, names: Collection[str] | None) -> str:
    """Return the requirements of a lock file, with their hashes.

    Raises ValueError for an environment marker: pip would evaluate it for Linux.
    """
    packages = {name: (version, hashes) for name, version, hashes in _PACKAGE.findall(lock)}
    chosen = packages.keys() if names is None else names
    for name in chosen:
        if ";" in packages[name][0]:
            raise ValueError(f"{name}: the environment marker {packages[name][0]!r} is not supported")
    return "".join(f"{name}=={packages[name][0]} \\\n{packages[name][1]}" for name in chosen)


def _download(lock: Path, target: Path, names: Collection[str] | None, options: list[str]) -> list[Path]:
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.write(select_requirements(lock.read_text(encoding="utf-8"), names))
        file.flush()
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "--quiet", "--no-deps"]
        chosen = ["--require-hashes", "--dest", str(target), "--requirement", file.name]
        subprocess.run([*pip, *options, *chosen], check=True)  # noqa: S603  # no other input
    return sorted(target.iterdir())
