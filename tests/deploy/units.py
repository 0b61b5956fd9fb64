"""A minimal parser of systemd unit files."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Final

FOLDER: Final = Path(__file__).parents[2] / "deploy/systemd"
UNIT: Final = FOLDER / "socket-state-exporter.service"


def settings(section: str) -> dict[str, list[str]]:
    """Return key -> values in order, of one section of the unit."""
    found: defaultdict[str, list[str]] = defaultdict(list)
    current = ""
    for line in UNIT.read_text().splitlines():
        if line.startswith("["):
            current = line.strip("[]")
        elif current == section and "=" in line and not line.startswith("#"):
            key, _, value = line.partition("=")
            found[key].append(value)
    return dict(found)


def capabilities() -> set[str]:
    """Return the capabilities of the unit, such as CAP_SYS_PTRACE."""
    (ambient,) = settings("Service")["AmbientCapabilities"]
    return set(ambient.split())
