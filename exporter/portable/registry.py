"""Limits of TCP on Windows: the registry."""

from __future__ import annotations

from importlib import import_module
from typing import Any, Final

from ..model.host import EphemeralRange, SysctlLimits

_REGISTRY_KEY: Final = r"SYSTEM\CurrentControlSet\Services\Tcpip\Parameters"
# https://learn.microsoft.com/previous-versions/windows/it-pro/windows-server-2003/cc757512(v=ws.10)
_MAX_TIME_WAIT_SECONDS: Final = 300
_FIRST_USER_PORT: Final = 1025
_MAX_PORT: Final = 65535


def read_registry() -> SysctlLimits:
    """Return the limits that are set in the registry. Raises OSError if it is unreadable.

    Both values are absent by default. The effective limit then depends on the release of Windows, and stays
    None. MaxUserPort makes the dynamic range 1025 to that port, as before Windows Vista; the range shown by
    `netsh int ipv4 show dynamicport tcp` is at no documented place in the registry.
    """
    winreg: Any = import_module("winreg")  # on Windows only
    errors: list[str] = []
    with winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, _REGISTRY_KEY) as key:

        def value(name: str, low: int, high: int) -> int | None:
            try:
                number, _ = winreg.QueryValueEx(key, name)
            except FileNotFoundError:
                return None
            if isinstance(number, int) and low <= number <= high:
                return number
            errors.append(f"registry: {name} should be {low} to {high}, is {number!r}")
            return None

        delay = value("TcpTimedWaitDelay", 0, _MAX_TIME_WAIT_SECONDS)
        last = value("MaxUserPort", _FIRST_USER_PORT, _MAX_PORT)
    return SysctlLimits(
        time_wait_seconds=None if delay is None else float(delay),
        ephemeral=None if last is None else EphemeralRange(_FIRST_USER_PORT, last),
        errors=tuple(errors),
    )
