"""What the system allows TCP to use: sysctls (Linux) or the registry (Windows)."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any, Final, TypeVar

from ..model import EphemeralRange, Limits
from .files import read_whole

# TCP_TIMEWAIT_LEN of include/net/tcp.h, in seconds: no sysctl changes it, tcp_fin_timeout neither.
_TIME_WAIT_SECONDS: Final = 60.0

_LAST_PORT: Final = 65535
_PORTS: Final = re.compile(r"([0-9]{1,5})(?:-([0-9]{1,5}))?")

# ip_local_reserved_ports is given whole or cut off, by the first read: 32,768 single ports take 192 KiB.
_LONG_SYSCTL: Final = 1 << 18

_REGISTRY_KEY: Final = r"SYSTEM\CurrentControlSet\Services\Tcpip\Parameters"
# https://learn.microsoft.com/previous-versions/windows/it-pro/windows-server-2003/cc757512(v=ws.10)
_LONGEST_TIME_WAIT: Final = 300
_FIRST_USER_PORT: Final = 1025

_T = TypeVar("_T")


class Files:
    """Reads files of a directory. One that cannot be read, or makes no sense, does not hide the others."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._failures: list[OSError] = []
        self._answered = False
        self.problems: list[str] = []

    def parse(
        self, name: str, parser: Callable[[str], _T], absent: _T | None = None, size: int = 4096
    ) -> _T | None:
        """What the parser makes of a file, `absent` where there is no such file. None where it cannot
        be read or the parser raises ValueError: that is then among the problems. `size`: of a read."""
        path = f"{self._directory}/{name}"
        try:
            text = read_whole(path, size).decode("utf-8", "replace")
        except FileNotFoundError as failure:
            self._note(failure)
            return absent
        except OSError as failure:
            failure.filename = path  # read() does not know it
            self._note(failure)
            self.problems.append(str(failure))
            return None
        self._answered = True
        try:
            return parser(text)
        except ValueError as failure:
            self.problems.append(f"{path}: {failure}")
            return None

    def _note(self, failure: OSError) -> None:
        """Without its traceback, which leads back here and to all that is being done at the moment: such a
        ring would keep a whole look, megabytes on a big host, until Python searches for garbage."""
        self._failures.append(failure.with_traceback(None))

    def require_any(self) -> None:
        """Raises the first OSError when no file could be read."""
        if self._failures and not self._answered:
            raise self._failures[0]


def read_limits(procfs: Path) -> Limits:
    """The limits here. Raises OSError when nothing at all can be read.

    Of Linux, those of the calling thread's network namespace: /proc/sys/net shows no other, whatever
    /proc it is. macOS and BSD are not asked.
    """
    if sys.platform == "linux":
        return read_sysctls(procfs)
    elif sys.platform == "win32":  # noqa: RET505  # mypy follows the platform through elif only
        return read_registry()
    else:
        return Limits()


def read_sysctls(procfs: Path) -> Limits:
    """The limits of Linux: /proc/sys/net/ipv4 (Documentation/networking/ip-sysctl.rst, tcp(7))."""
    files = Files(procfs / "sys/net/ipv4")
    # Absent in network namespaces other than the first, like tcp_max_orphans.
    memory = files.parse("tcp_mem", parse_memory)
    limits = Limits(
        time_wait_buckets=files.parse("tcp_max_tw_buckets", parse_number),
        time_wait_seconds=_TIME_WAIT_SECONDS,
        time_wait_reuse=files.parse("tcp_tw_reuse", parse_number),
        ephemeral=_ephemeral(files),
        orphans=files.parse("tcp_max_orphans", parse_number),
        memory_pressure_bytes=memory[1] if memory else None,
        memory_bytes=memory[2] if memory else None,
        problems=tuple(files.problems),
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


def read_registry() -> Limits:
    """The limits of Windows that somebody has set in the registry. Raises OSError when it is not readable.

    Both values are absent by default, and what holds then depends on the release: nothing is said of it.
    MaxUserPort makes the dynamic range 1025 to that port, as before Windows Vista; the range that
    `netsh int ipv4 show dynamicport tcp` shows is not in the registry in any documented way.
    """
    winreg: Any = import_module("winreg")  # on Windows only
    problems: list[str] = []
    with winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, _REGISTRY_KEY) as key:

        def value(name: str, low: int, high: int) -> int | None:
            try:
                number, _ = winreg.QueryValueEx(key, name)
            except FileNotFoundError:
                return None
            if isinstance(number, int) and low <= number <= high:
                return number
            problems.append(f"registry: {name} should be {low} to {high}, is {number!r}")
            return None

        delay = value("TcpTimedWaitDelay", 0, _LONGEST_TIME_WAIT)
        last = value("MaxUserPort", _FIRST_USER_PORT, _LAST_PORT)
    return Limits(
        time_wait_seconds=None if delay is None else float(delay),
        ephemeral=None if last is None else EphemeralRange(_FIRST_USER_PORT, last),
        problems=tuple(problems),
    )
