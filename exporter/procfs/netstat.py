"""TCP counters of the Linux kernel: /proc/net/netstat and sockstat (proc_pid_net(5))."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from ..model.host import KernelCounters
from .files import ProcDirectory

Tables = dict[str, dict[str, int]]
"""Prefix, such as `TcpExt` -> counter name -> value."""

# Value of the label `reason` -> counter of TcpExt (net/ipv4/proc.c, snmp4_net_list).
_ABORTS: Final = {
    "close": "TCPAbortOnClose",
    "data": "TCPAbortOnData",
    "timeout": "TCPAbortOnTimeout",
    "linger": "TCPAbortOnLinger",
    "memory": "TCPAbortOnMemory",
    "failed": "TCPAbortFailed",
}

_FOUR_KIB_PAGE: Final = 4096
# The first release in which sockstat counts `mem` in pages (commit 100fdd1faf50).
_FIRST_RELEASE_IN_PAGES: Final = (6, 0)
_RELEASE: Final = re.compile(r"(\d+)\.(\d+)")


def read_counters(procfs: Path) -> KernelCounters:
    """Return the counters of the calling thread's network namespace. Raises OSError if nothing is readable.

    /proc/net is a link to self/net: even a /proc mounted from the host shows the network namespace of the
    reading process, as netlink does. thread-self/net is that of the thread, which may have entered another
    namespace, and is also available with `ProcSubset=pid`. Systems other than Linux have no counters.
    """
    if sys.platform != "linux":
        return KernelCounters()
    files = ProcDirectory(procfs / "thread-self/net")
    extended = (files.parse("netstat", parse_netstat) or {}).get("TcpExt", {})
    sockets = (files.parse("sockstat", parse_sockstat) or {}).get("TCP", {})
    files.raise_if_unreadable()
    return KernelCounters(
        time_wait_started=extended.get("TW"),
        time_wait_reused=extended.get("TWRecycled"),
        time_wait_overflows=extended.get("TCPTimeWaitOverflow"),
        listen_overflows=extended.get("ListenOverflows"),
        listen_drops=extended.get("ListenDrops"),
        syn_queue_drops=extended.get("TCPReqQFullDrop"),
        backlog_drops=extended.get("TCPBacklogDrop"),
        aborts={reason: extended[name] for reason, name in _ABORTS.items() if name in extended},
        time_wait=sockets.get("tw"),
        orphans=sockets.get("orphan"),
        memory_bytes=_to_bytes(sockets.get("mem")),
        errors=tuple(files.errors),
    )


def parse_netstat(text: str) -> Tables:
    """Return the tables of /proc/net/netstat: pairs of lines, names and then values, each with a prefix.

    The names and their order depend on the kernel version. Raises ValueError.
    """
    tables: Tables = {}
    lines = text.splitlines()
    if len(lines) % 2:
        raise ValueError(f"{len(lines)} lines are not pairs of names and values")
    for header, line in zip(lines[::2], lines[1::2], strict=True):
        prefix, names = _split(header)
        second_prefix, values = _split(line)
        if second_prefix != prefix or len(names) != len(values):
            raise ValueError(f"{len(names)} names of {prefix!r}, {len(values)} values of {second_prefix!r}")
        tables.setdefault(prefix, {}).update(zip(names, map(int, values), strict=True))
    return tables


def parse_sockstat(text: str) -> Tables:
    """Return the tables of /proc/net/sockstat: lines of alternating names and values. Raises ValueError."""
    tables: Tables = {}
    for line in text.splitlines():
        prefix, words = _split(line)
        tables.setdefault(prefix, {}).update(_parse_pairs(words))
    return tables


def _split(line: str) -> tuple[str, list[str]]:
    prefix, colon, fields = line.partition(":")
    if not colon:
        raise ValueError(f"no prefix in {line[:50]!r}")
    return prefix, fields.split()


def _parse_pairs(words: list[str]) -> Iterable[tuple[str, int]]:
    if len(words) % 2:
        raise ValueError(f"{words[-1][:50]!r} has no value")
    return zip(words[::2], map(int, words[1::2]), strict=True)


def _to_bytes(units: int | None) -> int | None:
    unit = memory_unit_bytes(os.sysconf("SC_PAGE_SIZE"), os.uname().release)
    return units * unit if units is not None and unit is not None else None


def memory_unit_bytes(page_size: int, release: str) -> int | None:
    """Return the unit of sockstat's `mem` in bytes, None if it is unknown.

    The unit is a page, but 4 KiB from Linux 4.11 to 5.19 (SK_MEM_QUANTUM, commit bd68a2a854ad). If pages are
    larger, a release before 6.0 may have either unit: distributions backport later changes.
    """
    version = _RELEASE.match(release)
    counts_pages = version is not None and tuple(map(int, version.groups())) >= _FIRST_RELEASE_IN_PAGES
    return page_size if page_size == _FOUR_KIB_PAGE or counts_pages else None
