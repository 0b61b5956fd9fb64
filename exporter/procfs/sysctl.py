"""TCP limits on Linux: the sysctls in /proc/sys/net/ipv4."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final

from ..model.host import MAX_PORT, EphemeralRange, SysctlLimits
from .files import ProcDirectory

# TCP_TIMEWAIT_LEN (include/net/tcp.h): no sysctl changes it, not even tcp_fin_timeout.
_TIME_WAIT_SECONDS: Final = 60.0

_PORTS: Final = re.compile(r"([0-9]{1,5})(?:-([0-9]{1,5}))?")

# Bytes for each read(2) of ip_local_reserved_ports. The kernel returns all of it in the first one, truncated
# to this size: 32,768 single ports take 192 KiB.
_MAX_PORT_LIST_BYTES: Final = 1 << 18


def read_sysctls(procfs: Path) -> SysctlLimits:
    """Return the limits of the calling thread's network namespace, which is the one that any /proc shows.

    Source: Documentation/networking/ip-sysctl.rst, tcp(7). Raises OSError if none of them is readable.
    """
    files = ProcDirectory(procfs / "sys/net/ipv4")
    # Only the initial network namespace has tcp_mem and tcp_max_orphans.
    memory = files.parse("tcp_mem", parse_memory)
    limits = SysctlLimits(
        max_time_wait_sockets=files.parse("tcp_max_tw_buckets", parse_number),
        time_wait_seconds=_TIME_WAIT_SECONDS,
        time_wait_reuse=files.parse("tcp_tw_reuse", parse_number),
        ephemeral=_read_ephemeral_range(files),
        max_orphans=files.parse("tcp_max_orphans", parse_number),
        max_memory_bytes=memory[2] if memory else None,
        errors=tuple(files.errors),
    )
    files.raise_if_unreadable()
    return limits


def _read_ephemeral_range(files: ProcDirectory) -> EphemeralRange | None:
    port_range = files.parse("ip_local_port_range", parse_port_range)
    # If the reserved ports are unreadable, the range is unknown: its size would be too large.
    no_ports: list[range] = []
    reserved = files.parse(
        "ip_local_reserved_ports", parse_port_list, absent=no_ports, size=_MAX_PORT_LIST_BYTES
    )
    if port_range is None or reserved is None:
        return None
    low, high = port_range.start, port_range.stop - 1
    return EphemeralRange(
        low,
        high,
        frozenset(
            port for ports in reserved for port in range(max(low, ports.start), min(high + 1, ports.stop))
        ),
    )


def parse_number(text: str) -> int:
    """Return the value of a sysctl that is one number. Raises ValueError."""
    (number,) = _parse_numbers(text, 1)
    return number


def parse_memory(text: str) -> tuple[int, int, int]:
    """Return low, pressure and high of tcp_mem in bytes; the sysctl is in pages. Raises ValueError."""
    low, pressure, high = (pages * os.sysconf("SC_PAGE_SIZE") for pages in _parse_numbers(text, 3))
    return low, pressure, high


def parse_port_range(text: str) -> range:
    """Return the ports of ip_local_port_range. Raises ValueError."""
    low, high = _parse_numbers(text, 2)
    return _make_port_range(low, high)


def parse_port_list(text: str) -> list[range]:
    """Return the ranges of ip_local_reserved_ports, such as `8080,9148-9150`. Raises ValueError."""
    return [_parse_ports(part) for part in text.strip().split(",")] if text.strip() else []


def _parse_ports(text: str) -> range:
    match = _PORTS.fullmatch(text)
    if match is None:
        raise ValueError(f"{text[:50]!r} is neither a port nor a port range")
    low, high = match.groups()
    return _make_port_range(int(low), int(high or low))


def _make_port_range(low: int, high: int) -> range:
    if not low <= high <= MAX_PORT:
        raise ValueError(f"{low} to {high} is not a port range")
    return range(low, high + 1)


def _parse_numbers(text: str, count: int) -> list[int]:
    words = text.split()
    if len(words) != count or not all(map(str.isdigit, words)):
        raise ValueError(f"{text[:50]!r} should be {count} number{'s' * (count > 1)}")
    return [int(word) for word in words]
