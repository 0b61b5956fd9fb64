"""SysctlLimits of the host and counters of the kernel."""

from __future__ import annotations

from dataclasses import replace

from exporter.model.host import KernelCounters, SysctlLimits

from ..snapshots import BUSY
from .families import collect, values


def test_unknown_values_are_absent_and_zeros_are_not() -> None:
    limits = SysctlLimits(time_wait_reuse=0, max_time_wait_sockets=None)
    counters = KernelCounters(time_wait_overflows=0, listen_drops=None)
    families = collect(replace(BUSY, limits=limits, counters=counters))
    assert values(families["socket_time_wait_reuse"]) == {(): 0}
    assert values(families["socket_kernel_time_wait_overflows"]) == {(): 0}
    absent = (
        "socket_time_wait_limit",
        "socket_kernel_listen_drops",
        "socket_kernel_aborts",
        "socket_orphans",
    )
    assert not families.keys() & absent
