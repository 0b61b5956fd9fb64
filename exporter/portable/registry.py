"""TCP limits on Windows, from the registry."""

from __future__ import annotations

from importlib import import_module
from typing import Any, Final

from ..model.host import MAX_PORT, EphemeralRange, SysctlLimits

_REGISTRY_KEY: Final = r"SYSTEM\CurrentControlSet\Services\Tcpip\Parameters"
# https://learn.microsoft.com/previous-versions/windows/it-pro/windows-server-2003/cc757512(v=ws.10)
_MAX_TIME_WAIT_SECONDS: Final = 300
_FIRST_USER_PORT: Final = 1025


def read_registry() -> SysctlLimits:
    """Return the limits that are set in the registry. Raises OSError if it is unreadable.

    Both values are absent by default; the effective limits then depend on the release of Windows, and are
    None here. MaxUserPort changes the dynamic range to 1025 up to that port, as before Windows Vista. The
    range that `netsh int ipv4 show dynamicport tcp` shows has no documented place in the registry.
    """
    winreg: Any = import_module("winreg")  # exists on Windows only
    errors: list[str] = []
    with winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, _REGISTRY_KEY) as key:

        def read_value(name: str, low: int, high: int) -> int | None:
            try:
                number, _ = winreg.QueryValueEx(key, name)
            except FileNotFoundError:
                return None
            if isinstance(number, int) and low <= number <= high:
                return number
            errors.append(f"registry: {name} should be {low} to {high}, is {number!r}")
            return None

        delay_seconds = read_value("TcpTimedWaitDelay", 0, _MAX_TIME_WAIT_SECONDS)
        max_user_port = read_value("MaxUserPort", _FIRST_USER_PORT, MAX_PORT)
    return SysctlLimits(
        time_wait_seconds=None if delay_seconds is None else float(delay_seconds),
        ephemeral=None if max_user_port is None else EphemeralRange(_FIRST_USER_PORT, max_user_port),
        errors=tuple(errors),
    )
