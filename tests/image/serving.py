"""Starts, scrapes and stops the image's exporter on this host."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from ..running import PATIENCE, until
from ..tools import require
from .store import Container

HOME: Final = "/opt/socket-state-exporter"
PYTHON: Final = f"{HOME}/bin/python"
COMMAND: Final = f"{HOME}/bin/socket-state-exporter"
HEALTHCHECK: Final = (PYTHON, f"{HOME}/healthcheck.py")

MARKS: Final = [
    pytest.mark.image,
    require("buildah", "debootstrap"),
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
]
"""Marks of every test module of the image."""


@dataclass(frozen=True)
class Exporter:
    """The container's process on the host, and its output."""

    process: subprocess.Popen[bytes]
    log: Path


@contextmanager
def running(container: Container, command: Sequence[str]) -> Iterator[Exporter]:
    """Run an exporter in the container; stop it by SIGTERM like `docker stop`."""
    with tempfile.NamedTemporaryFile() as log:
        process = subprocess.Popen(command, stderr=log)
        try:
            yield Exporter(process, Path(log.name))
        finally:
            if pid := container.process(PYTHON):
                os.kill(pid, signal.SIGTERM)
            process.wait(PATIENCE)


def serving(port: int) -> tuple[str, str]:
    """Return the command in the container."""
    return COMMAND, f"--web.listen-address=127.0.0.1:{port}"


def scrape(port: int) -> str:
    """Return the metrics, after waiting for the exporter."""
    for _ in until("the container's exporter answers"):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=PATIENCE) as answer:
                return str(answer.read().decode())
        except OSError:
            continue
    raise AssertionError
