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
    """The paths in the text of /proc/PID/cgroup, the unified hierarchy (`0::`) first."""
    fields = [line.split(":", 2) for line in text.splitlines() if line.count(":") >= 2]
    return tuple(path for _, _, path in sorted(fields, key=lambda field: field[0] != "0"))


def unit(paths: Iterable[str]) -> str:
    """The innermost systemd unit, such as `cups.service`, or nothing."""
    return _innermost(_UNIT, paths)


def container(paths: Iterable[str]) -> str:
    """The innermost container's id, 64 hexadecimal digits, or nothing."""
    return _innermost(_CONTAINER, paths)


def _innermost(pattern: re.Pattern[str], paths: Iterable[str]) -> str:
    for path in paths:
        if found := pattern.findall(path):
            return str(found[-1])
    return ""
