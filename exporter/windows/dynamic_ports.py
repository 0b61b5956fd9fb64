"""Dynamic port range of Windows, its ephemeral ports, from `netsh`.

The range has no documented place in the registry, and `netsh` prints it in the language of the system: a line
with the first port, and one with the number of ports.
"""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from ..model.host import MAX_PORT, EphemeralRange

DEFAULT_RANGE: Final = EphemeralRange(49_152, MAX_PORT)
"""Range of Windows Vista and later, unless it was changed
(https://learn.microsoft.com/troubleshoot/windows-server/networking/default-dynamic-port-range-tcpip-chang)."""
REFRESH_SECONDS: Final = 300.0
"""Time between two reads: `netsh` is a process, which takes 50 to 300 ms."""

_NETSH_TIMEOUT_SECONDS: Final = 10.0
_NUMBER_AT_END: Final = re.compile(r":\s*(\d+)\s*$", re.MULTILINE)
_MIN_PORT: Final = 1


class DynamicPortReader:
    """Reads the range of IPv4 and that of IPv6, at most once in REFRESH_SECONDS.

    run_netsh: returns what `netsh int FAMILY show dynamicport tcp` prints; raises OSError.
    """

    def __init__(
        self,
        run_netsh: Callable[[str], str] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._run_netsh = run_netsh or _run_netsh
        self._clock = clock
        self._ranges: dict[str, EphemeralRange] = {}
        self._expires_at = -1.0

    def ranges(self) -> dict[str, EphemeralRange]:
        """Return the ranges by family, `ipv4` and `ipv6`; a family is absent if its range is not known."""
        now = self._clock()
        if now >= self._expires_at:
            self._ranges = dict(filter(None, map(self._read, ("ipv4", "ipv6"))))
            self._expires_at = now + REFRESH_SECONDS
        return self._ranges

    def _read(self, family: str) -> tuple[str, EphemeralRange] | None:
        try:
            parsed = parse_dynamic_port_range(self._run_netsh(family))
        except (OSError, ValueError, subprocess.SubprocessError):
            return None
        return family, parsed


def parse_dynamic_port_range(text: str) -> EphemeralRange:
    """Return the range that `netsh int ipv4 show dynamicport tcp` prints in any language.

    The first number after a colon is the first port, the second one the number of ports. Raises ValueError.
    """
    numbers = [int(digits) for digits in _NUMBER_AT_END.findall(text.replace("\uff1a", ":"))]
    if len(numbers) != 2:
        raise ValueError(f"netsh printed {len(numbers)} numbers instead of first port and number of ports")
    first, count = numbers
    if not (_MIN_PORT <= first <= MAX_PORT and 0 < count <= MAX_PORT + 1 - first):
        raise ValueError(f"{count} ports from {first} on are not a port range")
    return EphemeralRange(first, first + count - 1)


def _run_netsh(family: str) -> str:
    """Return the output of netsh. Raises OSError, or SubprocessError if it fails or hangs."""
    netsh = Path(os.environ.get("SYSTEMROOT", r"C:\Windows"), "System32", "netsh.exe")
    command = [str(netsh), "int", family, "show", "dynamicport", "tcp"]
    result = subprocess.run(  # noqa: S603  # the system's own program, with constant arguments
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=True,
        timeout=_NETSH_TIMEOUT_SECONDS,
        creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
    )
    # Only digits and colons matter, which the code pages of all languages share with ASCII.
    return result.stdout.decode("ascii", "replace")
