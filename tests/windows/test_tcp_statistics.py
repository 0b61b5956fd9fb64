"""Counters of Windows."""

from __future__ import annotations

import ctypes
import struct

import pytest

from exporter.model.host import KernelCounters
from exporter.windows.tcp_statistics import TcpStatisticsReader, read_statistics

from .fake_dlls import DWORD, POINTER, FakeDlls

IPV4, IPV6 = 2, 23


def test_counters_of_both_families_are_added() -> None:
    numbers = {IPV4: range(100, 115), IPV6: range(200, 215)}
    assert TcpStatisticsReader(numbers.__getitem__).read() == KernelCounters(
        connect_failures=106 + 206,
        established_resets=107 + 207,
        retransmitted_segments=111 + 211,
        resets_sent=113 + 213,
    )


def test_counter_of_32_bits_is_counted_on_when_it_wraps() -> None:
    numbers = {IPV4: [0xFFFF_FFF0] * 15, IPV6: [5] * 15}
    reader = TcpStatisticsReader(numbers.__getitem__)
    assert reader.read().connect_failures == 0xFFFF_FFF5
    numbers[IPV4] = [2] * 15
    numbers[IPV6] = [6] * 15
    assert reader.read().connect_failures == 0x1_0000_0008


def test_failed_read_changes_no_total() -> None:
    numbers = {IPV4: [1] * 15, IPV6: [1] * 15}
    reader = TcpStatisticsReader(numbers.__getitem__)
    reader.read()
    del numbers[IPV6]
    numbers[IPV4] = [5] * 15
    with pytest.raises(KeyError):
        reader.read()
    numbers[IPV6] = [1] * 15
    assert reader.read().connect_failures == 6


def test_statistics_of_each_family_are_read(dlls: FakeDlls) -> None:
    @dlls.define("iphlpapi", "GetTcpStatisticsEx", DWORD, POINTER, DWORD)
    def _(numbers: int, family: int) -> int:
        ctypes.memmove(numbers, struct.pack("<15I", *range(family, family + 15)), 60)
        return 0

    assert read_statistics(IPV6) == tuple(range(23, 38))
    assert TcpStatisticsReader().read().connect_failures == (2 + 6) + (23 + 6)


def test_unsupported_statistics_are_an_error(dlls: FakeDlls) -> None:
    @dlls.define("iphlpapi", "GetTcpStatisticsEx", DWORD, POINTER, DWORD)
    def _(_numbers: int, _family: int) -> int:
        return 50  # ERROR_NOT_SUPPORTED

    with pytest.raises(OSError, match="Windows error 50"):
        read_statistics(IPV4)
