"""TCP counters of the Linux kernel: /proc/net/netstat, snmp and sockstat (proc_pid_net(5))."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

from ..model.host import KernelCounters
from .files import ProcDirectory

Tables = dict[str, dict[str, int]]
"""Prefix, such as `TcpExt` -> counter name -> value."""


class ParsedTables(NamedTuple):
    """Tables of a file, without its malformed lines."""

    tables: Tables
    problems: list[str]
    """One phrase for each malformed line or pair of lines."""

    def add(self, prefix: str, names: list[str], values: list[str]) -> None:
        """Add figures to a table, or a problem if a value is no number."""
        try:
            numbers = list(map(int, values))
        except ValueError as error:
            self.problems.append(f"values of {prefix!r}: {str(error)[:100]}")
            return
        self.tables.setdefault(prefix, {}).update(zip(names, numbers, strict=True))


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
    extended = _read_tables(files, "netstat", parse_netstat).get("TcpExt", {})
    basic = _read_tables(files, "snmp", parse_netstat).get("Tcp", {})
    sockets = _read_tables(files, "sockstat", parse_sockstat).get("TCP", {})
    files.raise_if_unreadable()
    return KernelCounters(
        time_wait_started=extended.get("TW"),
        time_wait_reused=extended.get("TWRecycled"),
        time_wait_overflows=extended.get("TCPTimeWaitOverflow"),
        listen_overflows=extended.get("ListenOverflows"),
        listen_drops=extended.get("ListenDrops"),
        syn_queue_drops=extended.get("TCPReqQFullDrop"),
        backlog_drops=extended.get("TCPBacklogDrop"),
        connect_failures=basic.get("AttemptFails"),
        established_resets=basic.get("EstabResets"),
        retransmitted_segments=basic.get("RetransSegs"),
        resets_sent=basic.get("OutRsts"),
        aborts={reason: extended[name] for reason, name in _ABORTS.items() if name in extended},
        time_wait=sockets.get("tw"),
        orphans=sockets.get("orphan"),
        memory_bytes=_to_bytes(sockets.get("mem")),
        errors=tuple(files.errors),
    )


def _read_tables(files: ProcDirectory, name: str, parser: Callable[[str], ParsedTables]) -> Tables:
    """Return the well-formed tables of a file, and report the problems of the others."""
    parsed = files.parse(name, parser)
    if parsed is None:
        return {}
    files.report(name, parsed.problems)
    return parsed.tables


def parse_netstat(text: str) -> ParsedTables:
    """Return the tables of /proc/net/netstat or snmp.

    Both have pairs of lines, names and then values, each with a prefix. The names and their order depend on
    the kernel version. The figures of a malformed pair are absent.
    """
    parsed = ParsedTables({}, [])
    lines = text.splitlines()
    position = 0
    while position < len(lines):
        header, following = lines[position], lines[position + 1] if position + 1 < len(lines) else ""
        prefix, names = _split(header)
        following_prefix, values = _split(following)
        # The line after a header without values is the next header: it has another prefix, or no number.
        has_values = bool(prefix) and following_prefix == prefix and (not names or _has_number(values))
        position += 1 + has_values
        if not prefix:
            parsed.problems.append(f"no prefix in {header[:50]!r}")
        elif not has_values:
            parsed.problems.append(f"{len(names)} names of {prefix!r} without values")
        elif len(names) != len(values):
            parsed.problems.append(f"{len(names)} names of {prefix!r}, {len(values)} values")
        else:
            parsed.add(prefix, names, values)
    return parsed


def parse_sockstat(text: str) -> ParsedTables:
    """Return the tables of /proc/net/sockstat: lines of alternating names and values.

    The figures of a malformed line are absent.
    """
    parsed = ParsedTables({}, [])
    for line in text.splitlines():
        prefix, words = _split(line)
        if not prefix:
            parsed.problems.append(f"no prefix in {line[:50]!r}")
        elif len(words) % 2:
            parsed.problems.append(f"{words[-1][:50]!r} of {prefix!r} has no value")
        else:
            parsed.add(prefix, words[::2], words[1::2])
    return parsed


def _split(line: str) -> tuple[str, list[str]]:
    """Return the prefix, empty if there is none, and the fields after it."""
    prefix, colon, fields = line.partition(":")
    return (prefix[:50], fields.split()) if colon else ("", [])


def _has_number(values: list[str]) -> bool:
    return any(value.lstrip("-").isdecimal() for value in values)


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
