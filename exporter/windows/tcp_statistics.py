"""TCP counters of Windows, for both address families together (GetTcpStatisticsEx).

https://learn.microsoft.com/windows/win32/api/iphlpapi/nf-iphlpapi-gettcpstatisticsex
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from typing import Final

from ..model.host import KernelCounters
from .api import library, windows_error

_FAMILIES: Final = (2, 23)  # AF_INET and AF_INET6
# Positions in MIB_TCPSTATS (tcpmib.h), which has 15 DWORDs.
_ATTEMPT_FAILS: Final = 6
_ESTAB_RESETS: Final = 7
_RETRANS_SEGS: Final = 11
_OUT_RSTS: Final = 13
_NUMBER_COUNT: Final = 15
_MODULUS: Final = 1 << 32


class TcpStatisticsReader:
    """Reads the counters. They have 32 bits and wrap: the reader counts on.

    Without that, Prometheus would take the wrap of one family for a reset of the sum of both, and count the
    other one twice.

    read: returns MIB_TCPSTATS of an address family.
    """

    def __init__(self, read: Callable[[int], Sequence[int]] | None = None) -> None:
        self._read = read or read_statistics
        self._previous: dict[int, Sequence[int]] = {}
        self._totals = [0] * _NUMBER_COUNT

    def read(self) -> KernelCounters:
        """Return the counters since the system was started. Raises OSError."""
        current = {family: self._read(family) for family in _FAMILIES}
        for family, numbers in current.items():
            previous = self._previous.get(family, [0] * _NUMBER_COUNT)
            for position, number in enumerate(numbers):
                self._totals[position] += (number - previous[position]) % _MODULUS
        self._previous = current
        return KernelCounters(
            connect_failures=self._totals[_ATTEMPT_FAILS],
            established_resets=self._totals[_ESTAB_RESETS],
            retransmitted_segments=self._totals[_RETRANS_SEGS],
            resets_sent=self._totals[_OUT_RSTS],
        )


def read_statistics(family: int) -> tuple[int, ...]:
    """Return MIB_TCPSTATS of an address family. Raises OSError."""
    numbers = (ctypes.c_uint32 * _NUMBER_COUNT)()
    if result := library("iphlpapi").GetTcpStatisticsEx(numbers, family):
        raise windows_error(result & 0xFFFFFFFF)
    return tuple(numbers)
