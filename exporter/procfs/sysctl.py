"""Limits of TCP on Linux: the sysctls in /proc/sys/net/ipv4."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final

from ..model.host import EphemeralRange, SysctlLimits
from .files import ProcDirectory

# TCP_TIMEWAIT_LEN of include/net/tcp.h: no sysctl changes it, not even tcp_fin_timeout.
_TIME_WAIT_SECONDS: Final = 60.0

_MAX_PORT: Final = 65535
_PORTS: Final = re.compile(r"([0-9]{1,5})(?:-([0-9]{1,5}))?")

# Bytes to read of ip_local_reserved_ports. The kernel returns it with the first read(2), whole or truncated:
# 32,768 single ports take 192 KiB.
_MAX_PORT_LIST_BYTES: Final = 1 << 18


def read_sysctls(procfs: Path) -> SysctlLimits:
    """Return the limits of the calling thread's network namespace, whatever /proc it is.

    Source: Documentation/networking/ip-sysctl.rst, tcp(7). Raises OSError if nothing at all is readable.
    """
    files = ProcDirectory(procfs / "sys/net/ipv4")
    # Absent in all network namespaces but the first, as tcp_max_orphans is.
    memory = files.parse("tcp_mem", parse_memory)
    limits = SysctlLimits(
        max_time_wait_sockets=files.parse("tcp_max_tw_buckets", parse_number),
        time_wait_seconds=_TIME_WAIT_SECONDS,
        time_wait_reuse=files.parse("tcp_tw_reuse", parse_number),
        ephemeral=_ephemeral(files),
        max_orphans=files.parse("tcp_max_orphans", parse_number),
        memory_bytes=memory[2] if memory else None,
        errors=tuple(files.errors),
    )
    files.raise_if_unreadable()
    return limits


def _ephemeral(files: ProcDirectory) -> EphemeralRange | None:
    ports = files.parse("ip_local_port_range", parse_port_range)
    # Without the reserved ports the range would look longer than it is, and its exhaustion would not show.
    none: list[range] = []
    reserved = files.parse("ip_local_reserved_ports", parse_port_list, absent=none, size=_MAX_PORT_LIST_BYTES)
    if ports is None or reserved is None:
        return None
    low, high = ports.start, ports.stop - 1
    return EphemeralRange(
        low,
        high,
        frozenset(
            port for part in reserved for port in range(max(low, part.start), min(high + 1, part.stop))
        ),
    )


def parse_number(text: str) -> int:
    """Return the value of a sysctl that is one number. Raises ValueError."""
    (number,) = _numbers(text, 1)
    return number


def parse_memory(text: str) -> tuple[int, int, int]:
    """Return low, pressure and high of tcp_mem in bytes; the file has pages. Raises ValueError."""
    low, pressure, high = (pages * os.sysconf("SC_PAGE_SIZE") for pages in _numbers(text, 3))
    return low, pressure, high


def parse_port_range(text: str) -> range:
    """Return the ports of ip_local_port_range. Raises ValueError."""
    low, high = _numbers(text, 2)
    return _port_range(low, high)


def parse_port_list(text: str) -> list[range]:
    """Return the ranges of ip_local_reserved_ports, such as `8080,9148-9150`, or empty. Raises ValueError."""
    return [_ports(part) for part in text.strip().split(",")] if text.strip() else []


def _ports(text: str) -> range:
    match = _PORTS.fullmatch(text)
    if match is None:
        raise ValueError(f"{text[:50]!r} is neither a port nor a port range")
    low, high = match.groups()
    return _port_range(int(low), int(high or low))


def _port_range(low: int, high: int) -> range:
    if not low <= high <= _MAX_PORT:
        raise ValueError(f"{low} to {high} is not a port range")
    return range(low, high + 1)


def _numbers(text: str, count: int) -> list[int]:
    words = text.split()
    if len(words) != count or not all(map(str.isdigit, words)):
        raise ValueError(f"{text[:50]!r} should be {count} number{'s' * (count > 1)}")
    return [int(word) for word in words]
