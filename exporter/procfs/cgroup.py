"""systemd unit and container of a process, from the paths of its control groups. Pure.

Only the ends of the paths are used, since a private cgroup namespace shows relative paths (`/../x.scope`).
Formats: systemd.unit(5); docker, containerd, cri-o, podman and kubelet with either cgroup driver.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

# conmon monitors a container and is not part of it.
_CONTAINER: Final = re.compile(r"(?:^|[/:-])(?<!conmon-)([0-9a-f]{64})(?=\.scope|/|$)")
_UNIT: Final = re.compile(r"(?:^|/)([^/]+\.(?:service|scope|socket|mount|swap))(?=/|$)")


def parse_paths(text: str) -> tuple[str, ...]:
    """Return the paths in the text of /proc/PID/cgroup, in the kernel's order."""
    return tuple(path for _, path in _parse_hierarchies(text))


def parse_paths_unified_first(text: str) -> tuple[str, ...]:
    """Return the same paths, but the unified hierarchy's (`0::`) first; the kernel has it last."""
    return tuple(
        path for _, path in sorted(_parse_hierarchies(text), key=lambda hierarchy: hierarchy[0] != "0")
    )


def find_unit(paths: Iterable[str]) -> str:
    """Return the innermost systemd unit, such as `cups.service`, or an empty string."""
    return _find_innermost(_UNIT, paths)


def find_container(paths: Iterable[str]) -> str:
    """Return the id of the innermost container, 64 hexadecimal digits, or an empty string."""
    return _find_innermost(_CONTAINER, paths)


def _parse_hierarchies(text: str) -> list[tuple[str, str]]:
    """Return (id, path) of each hierarchy."""
    fields = [line.split(":", 2) for line in text.splitlines() if line.count(":") >= 2]
    return [(number, path) for number, _, path in fields]


def _find_innermost(pattern: re.Pattern[str], paths: Iterable[str]) -> str:
    for path in paths:
        if found := pattern.findall(path):
            return str(found[-1])
    return ""
