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
"""Prefix, such as `TcpExt` -> name -> value."""

# Our reason -> the counter of TcpExt (net/ipv4/proc.c, snmp4_net_list).
_ABORTS: Final = {
    "close": "TCPAbortOnClose",
    "data": "TCPAbortOnData",
    "timeout": "TCPAbortOnTimeout",
    "linger": "TCPAbortOnLinger",
    "memory": "TCPAbortOnMemory",
    "failed": "TCPAbortFailed",
}

_SMALL_PAGE: Final = 4096
# Linux 6.0 (commit 100fdd1faf50) counts pages.
_COUNTS_PAGES: Final = (6, 0)
_RELEASE: Final = re.compile(r"(\d+)\.(\d+)")


def read_counters(procfs: Path) -> KernelCounters:
    """Return the counters of the calling thread's network namespace. Raises OSError if nothing is readable.

    /proc/net is a link to self/net: a /proc mounted from the host shows the network namespace of who
    reads, as netlink does, and not the host's. thread-self/net is the same for a thread that has entered
    another namespace, and is also there with `ProcSubset=pid`. Systems other than Linux have none of it.
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
        memory_bytes=_in_bytes(sockets.get("mem")),
        errors=tuple(files.errors),
    )


def parse_netstat(text: str) -> Tables:
    """Return the tables of /proc/net/netstat: pairs of lines, names and then values, each after its prefix.

    Which names there are, and in which order, depends on the kernel's version. Raises ValueError.
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
    """Return the tables of /proc/net/sockstat: lines of names and values in turn. Raises ValueError."""
    tables: Tables = {}
    for line in text.splitlines():
        prefix, words = _split(line)
        tables.setdefault(prefix, {}).update(_pairs(words))
    return tables


def _split(line: str) -> tuple[str, list[str]]:
    prefix, colon, rest = line.partition(":")
    if not colon:
        raise ValueError(f"no prefix in {line[:50]!r}")
    return prefix, rest.split()


def _pairs(words: list[str]) -> Iterable[tuple[str, int]]:
    if len(words) % 2:
        raise ValueError(f"{words[-1][:50]!r} has no value")
    return zip(words[::2], map(int, words[1::2]), strict=True)


def _in_bytes(units: int | None) -> int | None:
    unit = memory_unit(os.sysconf("SC_PAGE_SIZE"), os.uname().release)
    return units * unit if units is not None and unit is not None else None


def memory_unit(page_size: int, release: str) -> int | None:
    """How many bytes 1 stands for in sockstat's `mem`, None where that cannot be known.

    Pages, but 4 KiB from Linux 4.11 to 5.19 (SK_MEM_QUANTUM, commit bd68a2a854ad). Where pages are larger,
    a release number below 6.0 does not tell: distributions carry later changes back.
    """
    version = _RELEASE.match(release)
    counts_pages = version is not None and tuple(map(int, version.groups())) >= _COUNTS_PAGES
    return page_size if page_size == _SMALL_PAGE or counts_pages else None
