"""What Linux allows TCP to use: the sysctls below /proc/sys/net/ipv4."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final

from ..model.host import EphemeralRange, SysctlLimits
from .files import Files

# TCP_TIMEWAIT_LEN of include/net/tcp.h, in seconds: no sysctl changes it, tcp_fin_timeout neither.
_TIME_WAIT_SECONDS: Final = 60.0

_LAST_PORT: Final = 65535
_PORTS: Final = re.compile(r"([0-9]{1,5})(?:-([0-9]{1,5}))?")

# ip_local_reserved_ports is given whole or cut off, by the first read: 32,768 single ports take 192 KiB.
_LONG_SYSCTL: Final = 1 << 18


def read_sysctls(procfs: Path) -> SysctlLimits:
    """The limits of Linux: /proc/sys/net/ipv4 (Documentation/networking/ip-sysctl.rst, tcp(7))."""
    files = Files(procfs / "sys/net/ipv4")
    # Absent in network namespaces other than the first, like tcp_max_orphans.
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
    files.require_any()
    return limits


def _ephemeral(files: Files) -> EphemeralRange | None:
    ports = files.parse("ip_local_port_range", parse_port_range)
    # What is reserved has to be known: a range too long would hide that it is used up.
    nothing: list[range] = []
    reserved = files.parse("ip_local_reserved_ports", parse_port_list, absent=nothing, size=_LONG_SYSCTL)
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
    """A sysctl that is one number. Raises ValueError."""
    (number,) = _numbers(text, 1)
    return number


def parse_memory(text: str) -> tuple[int, int, int]:
    """tcp_mem, three numbers of pages (low, pressure, high), in bytes. Raises ValueError."""
    low, pressure, high = (pages * os.sysconf("SC_PAGE_SIZE") for pages in _numbers(text, 3))
    return low, pressure, high


def parse_port_range(text: str) -> range:
    """ip_local_port_range: the first and the last port. Raises ValueError."""
    low, high = _numbers(text, 2)
    return _port_range(low, high)


def parse_port_list(text: str) -> list[range]:
    """ip_local_reserved_ports, such as `8080,9148-9150`, or empty. Raises ValueError."""
    return [_ports(part) for part in text.strip().split(",")] if text.strip() else []


def _ports(text: str) -> range:
    match = _PORTS.fullmatch(text)
    if match is None:
        raise ValueError(f"{text[:50]!r} is neither a port nor a range of ports")
    low, high = match.groups()
    return _port_range(int(low), int(high or low))


def _port_range(low: int, high: int) -> range:
    if not low <= high <= _LAST_PORT:
        raise ValueError(f"{low} to {high} is no range of ports")
    return range(low, high + 1)


def _numbers(text: str, count: int) -> list[int]:
    words = text.split()
    if len(words) != count or not all(map(str.isdigit, words)):
        raise ValueError(f"{text[:50]!r} should be {count} number{'s' * (count > 1)}")
    return [int(word) for word in words]
