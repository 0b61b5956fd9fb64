"""A Debian with systemd, installed once by debootstrap and kept in the user's cache."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

SUITE: Final = "bookworm"
PACKAGES: Final = ("ca-certificates", "pipx", "python3", "python3-apt", "python3-venv", "systemd")
BEYOND_PYTHON: Final = ("pipx", "python3-userpath", "python3-venv", "python3.11-venv")
"""Packages that a host with python3 may lack."""

_QUIET: Final = (
    "console-getty.service",
    "getty.target",
    "systemd-firstboot.service",
    "systemd-networkd.service",
    "systemd-resolved.service",
    "systemd-timesyncd.service",
)
"""Units that a machine without console and network does not need."""


def cache() -> Path:
    """Return the directory for cached root file systems, which are slow to create."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    path = home / "socket-state-exporter"
    path.mkdir(parents=True, exist_ok=True)
    return path


@contextmanager
def copy(name: str) -> Iterator[Path]:
    """Copy the base root file system; the copy is removed at the end."""
    base = _base()
    root = base.with_name(f"{name}-{os.getpid()}")
    subprocess.run(["cp", "-a", "--reflink=auto", base, root], check=True)
    try:
        yield root
    finally:
        shutil.rmtree(root)


def _base() -> Path:
    """Return the base root file system, created under a lock if it is missing."""
    base = cache() / f"{SUITE}-{'-'.join(PACKAGES)}"
    with base.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not base.exists():
            _make(base)
    return base


def _make(base: Path) -> None:
    partial = base.with_suffix(".partial")
    shutil.rmtree(partial, ignore_errors=True)
    include = f"--include={','.join(PACKAGES)}"
    made = subprocess.run(
        ["debootstrap", "--variant=minbase", include, SUITE, partial, *_mirror()],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if made.returncode:
        raise RuntimeError(f"debootstrap failed: {made.stdout[-2000:]}{made.stderr[-2000:]}")
    subprocess.run(["chroot", partial, "systemctl", "--quiet", "mask", *_QUIET], check=True)
    (partial / "etc/machine-id").unlink(missing_ok=True)
    shutil.rmtree(partial / "var/cache/apt/archives", ignore_errors=True)
    partial.rename(base)


def _mirror() -> list[str]:
    """Return this host's package mirror if it has the same suite; otherwise debootstrap's default."""
    if not shutil.which("apt-get"):
        return []
    listed = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages", f"Codename: {SUITE}"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return listed.stdout.split()[:1]
