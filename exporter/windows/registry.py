"""TCP parameters in the registry of Windows. Both are absent by default."""

from __future__ import annotations

from importlib import import_module
from typing import Any, Final, NamedTuple

from ..model.host import MAX_PORT

_REGISTRY_KEY: Final = r"SYSTEM\CurrentControlSet\Services\Tcpip\Parameters"
# https://learn.microsoft.com/previous-versions/windows/it-pro/windows-server-2003/cc757512(v=ws.10)
_MAX_TIME_WAIT_SECONDS: Final = 300
_MIN_USER_PORT: Final = 1025


class TcpParameters(NamedTuple):
    """Values of the registry. None means that a value is absent or impossible."""

    time_wait_seconds: int | None
    """TcpTimedWaitDelay."""
    max_user_port: int | None
    """MaxUserPort: last dynamic port before Windows Vista. Its effect on later releases is not documented."""
    problems: tuple[str, ...] = ()
    """One sentence for each value that is impossible."""


def read_registry() -> TcpParameters:
    """Return the parameters. Raises OSError if the registry is unreadable."""
    winreg: Any = import_module("winreg")  # exists on Windows only
    problems: list[str] = []
    with winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, _REGISTRY_KEY) as key:

        def read_value(name: str, low: int, high: int) -> int | None:
            try:
                number, _ = winreg.QueryValueEx(key, name)
            except FileNotFoundError:
                return None
            if isinstance(number, int) and low <= number <= high:
                return number
            problems.append(f"registry: {name} should be {low} to {high}, is {number!r}")
            return None

        delay_seconds = read_value("TcpTimedWaitDelay", 0, _MAX_TIME_WAIT_SECONDS)
        max_user_port = read_value("MaxUserPort", _MIN_USER_PORT, MAX_PORT)
    return TcpParameters(delay_seconds, max_user_port, tuple(problems))
