"""What the paths of a process's control groups tell: its systemd unit and its container. Pure.

Only the ends of paths are looked at: a private cgroup namespace shows them relative (`/../x.scope`).
Formats: systemd.unit(5); docker, containerd, cri-o, podman and kubelet with either cgroup driver.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

# conmon watches over a container from outside.
_CONTAINER: Final = re.compile(r"(?:^|[/:-])(?<!conmon-)([0-9a-f]{64})(?=\.scope|/|$)")
_UNIT: Final = re.compile(r"(?:^|/)([^/]+\.(?:service|scope|socket|mount|swap))(?=/|$)")


def paths(text: str) -> tuple[str, ...]:
    """Return the paths in the text of /proc/PID/cgroup, in the kernel's order."""
    return tuple(path for _, path in _hierarchies(text))


def unified_first(text: str) -> tuple[str, ...]:
    """Return the same paths, but that of the unified hierarchy (`0::`), the kernel's last, first."""
    return tuple(path for _, path in sorted(_hierarchies(text), key=lambda hierarchy: hierarchy[0] != "0"))


def unit(paths: Iterable[str]) -> str:
    """The innermost systemd unit, such as `cups.service`, or nothing."""
    return _innermost(_UNIT, paths)


def container(paths: Iterable[str]) -> str:
    """The innermost container's id, 64 hexadecimal digits, or nothing."""
    return _innermost(_CONTAINER, paths)


def _hierarchies(text: str) -> list[tuple[str, str]]:
    """Return the id and the path of each hierarchy."""
    fields = [line.split(":", 2) for line in text.splitlines() if line.count(":") >= 2]
    return [(number, path) for number, _, path in fields]


def _innermost(pattern: re.Pattern[str], paths: Iterable[str]) -> str:
    for path in paths:
        if found := pattern.findall(path):
            return str(found[-1])
    return ""
