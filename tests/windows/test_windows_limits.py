"""Limits of Windows."""

from __future__ import annotations

import pytest

from exporter.model.host import EphemeralRange, SysctlLimits
from exporter.windows.dynamic_ports import DynamicPortReader
from exporter.windows.registry import TcpParameters
from exporter.windows.windows_limits import WindowsLimitsReader

NETSH = "Start Port : {}\nNumber of Ports : {}\n"


def read(parameters: TcpParameters, netsh: str = NETSH.format(20_000, 1000)) -> SysctlLimits:
    return WindowsLimitsReader(DynamicPortReader(lambda _: netsh), lambda: parameters).read()


def test_range_is_that_of_netsh() -> None:
    assert read(TcpParameters(None, None)) == SysctlLimits(ephemeral=EphemeralRange(20_000, 20_999))


def test_default_range_is_called_assumed() -> None:
    assert read(TcpParameters(None, None), netsh="") == SysctlLimits(
        ephemeral=EphemeralRange(49_152, 65_535), ephemeral_is_assumed=True
    )


def test_max_user_port_is_told_and_not_taken_for_the_range() -> None:
    limits = read(TcpParameters(30, 65_534))
    assert limits.time_wait_seconds == 30.0
    assert limits.max_user_port == 65_534
    assert limits.ephemeral == EphemeralRange(20_000, 20_999)


def test_impossible_value_costs_its_own_figure_and_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    problem = "registry: MaxUserPort should be 1025 to 65535, is 99999"
    reader = WindowsLimitsReader(DynamicPortReader(lambda _: ""), lambda: TcpParameters(30, None, (problem,)))
    for _ in range(2):
        limits = reader.read()
        assert limits.time_wait_seconds == 30.0
        assert limits.max_user_port is None
        assert not limits.errors
    (record,) = caplog.records
    assert record.__dict__["fields"] == {"problems": problem}
