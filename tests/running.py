"""Runs the exporter as its users do: as a command, in a separate process."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

COMMAND: Final = (sys.executable, "-m", "exporter")
PATIENCE: Final = 20.0

# A directory other than the checkout, which is imported only if it is what is installed.
ELSEWHERE: Final = Path(os.sep)


def run(*flags: str) -> subprocess.CompletedProcess[str]:
    """Run the command to its end."""
    return subprocess.run(
        [*COMMAND, *flags], capture_output=True, text=True, cwd=ELSEWHERE, timeout=PATIENCE, check=False
    )


@dataclass(frozen=True)
class Exporter:
    """A running exporter."""

    process: subprocess.Popen[str]
    url: str
    log: Path

    def get(self, path: str = "/metrics") -> str:
        with urllib.request.urlopen(self.url + path, timeout=PATIENCE) as response:  # noqa: S310  # our own URL
            return str(response.read().decode())


@contextmanager
def running(log: Path, *flags: str, through: Sequence[str] = ()) -> Iterator[Exporter]:
    """Run an exporter on a free port of 127.0.0.1, and stop it at the end. through: a prefix of its command
    line, which must exec the rest."""
    command = [*through, *COMMAND, "--web.listen-address=127.0.0.1:0", *flags]
    with log.open("w") as stream:
        process = subprocess.Popen(command, stderr=stream, text=True, cwd=ELSEWHERE)
    try:
        yield Exporter(process, f"http://{_address(process, log)}", log)
    finally:
        process.terminate()
        process.wait(PATIENCE)


def _address(process: subprocess.Popen[str], log: Path) -> str:
    """Return the address from the log, once the exporter listens."""
    for _ in until("the exporter listens"):
        if found := re.search(r"address=(\S+)", log.read_text()):
            return found[1]
        assert process.poll() is None, log.read_text()
    raise AssertionError


def until(what: str, patience: float = PATIENCE) -> Iterator[None]:
    """Yield repeatedly until the caller stops iterating. Raises TimeoutError after `patience` seconds."""
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        yield
        time.sleep(0.05)
    raise TimeoutError(f"waited {patience} s without success until {what}")


def samples(text: str) -> list[Sample]:
    """Return all samples of a text in the Prometheus format."""
    return [sample for family in text_string_to_metric_families(text) for sample in family.samples]


def value(text: str, name: str, **labels: str) -> float | None:
    """Return the value of the only sample with this name and at least these labels; None if there is none."""
    found = [s.value for s in samples(text) if s.name == name and labels.items() <= s.labels.items()]
    assert len(found) <= 1, f"{name}{labels} is {len(found)} samples"
    return found[0] if found else None
