"""Snapshots of Windows hosts, as a collection returns them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final

from exporter.model.close_wait import Cause, ClassifiedCloseWait
from exporter.model.groups import Direction
from exporter.model.host import EphemeralRange, KernelCounters, SysctlLimits
from exporter.model.process import ProcessId
from exporter.model.snapshot import Snapshot
from exporter.model.sockets import ESTABLISHED, TIME_WAIT

from ..snapshots import close_wait, inbound, make_snapshot, outbound

DAY: Final = 86_400.0
SPOOLER: Final = ProcessId(1234, 1.0)
DNS_CACHE: Final = ProcessId(900, 1.0)
SHOP: Final = ProcessId(4000, 1.0)
DEFAULT_RANGE: Final = EphemeralRange(49_152, 65_535)


def print_jobs(count: int, *, age: float = 0.0, opened: float = 3 * DAY) -> Iterator[ClassifiedCloseWait]:
    """Yield connections of the spooler that printers have closed.

    age: since the first collection that has them. opened: age of the first connection.
    """
    rows = close_wait(
        count, age=age, cause=Cause.UNKNOWN, owner=SPOOLER, port=9100, direction=Direction.OUTBOUND
    )
    for number, row in enumerate(rows):
        seconds = opened * (number + 1) / count
        yield row._replace(close_wait=row.close_wait._replace(seconds_since_opened=seconds))


def windows_snapshot(*parts: Any, **changes: Any) -> Snapshot:
    """Return the snapshot of a Windows host with these sockets, as make_snapshot() does."""
    host: dict[str, Any] = {
        "names": {SPOOLER: "spoolsv", DNS_CACHE: "svchost:Dnscache", SHOP: "shop"},
        "services": {SPOOLER: ("Spooler",), DNS_CACHE: ("Dnscache",)},
        "limits": SysctlLimits(ephemeral=DEFAULT_RANGE),
        "counters": KernelCounters(connect_failures=3),
        "fd_usage": {},
        "handle_counts": {SPOOLER: 812, DNS_CACHE: 300, SHOP: 150},
        "source": "iphlpapi",
    }
    return make_snapshot(*parts, **host | changes)


def print_server() -> Snapshot:
    """Return a print server whose spooler leaks, with an old registry value and many handles."""
    return windows_snapshot(
        print_jobs(3_012),
        outbound(ESTABLISHED, 4, owner=SPOOLER, port=9100),
        outbound(TIME_WAIT, 9_000, owner=SHOP, port=8443),
        inbound(ESTABLISHED, 40, owner=SHOP, port=443),
        handle_counts={SPOOLER: 12_345, DNS_CACHE: 300, SHOP: 150},
        limits=SysctlLimits(ephemeral=DEFAULT_RANGE, ephemeral_is_assumed=True, max_user_port=32_768),
        has_bound_sockets=False,
    )


def as_windows_reports(snapshot: Snapshot) -> Snapshot:
    """Return a snapshot of Linux without the data that Windows does not report."""
    limits = snapshot.limits and replace(
        snapshot.limits,
        max_time_wait_sockets=None,
        time_wait_reuse=None,
        max_orphans=None,
        max_memory_bytes=None,
        max_user_port=5_000,
        ephemeral_is_assumed=snapshot.limits.time_wait_reuse == 1,
    )
    rows = snapshot.close_wait and [
        row._replace(
            cause=Cause.UNKNOWN,
            close_wait=row.close_wait._replace(
                receive_queue_bytes=None,
                send_queue_bytes=None,
                timer=None,
                seconds_since_ack=None,
                seconds_since_data=None,
                seconds_since_sent=None,
                seconds_since_opened=row.age_seconds + DAY,
            ),
        )
        for row in snapshot.close_wait
    ]
    listeners = snapshot.listeners and [
        (listener._replace(queue_length=None, queue_limit=None), owner)
        for listener, owner in snapshot.listeners
    ]
    return replace(
        snapshot,
        limits=limits,
        close_wait=rows,
        listeners=listeners,
        queue_bytes={},
        fd_usage={},
        workers={},
        dead_fds=None,
        counters=KernelCounters(connect_failures=1),
        source="iphlpapi",
    )
