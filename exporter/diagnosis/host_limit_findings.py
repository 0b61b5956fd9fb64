"""Findings on limits of the whole host (TIME_WAIT, orphans, memory) and on the kernel's overflow counters."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Final

from ..model.host import KernelCounters, SysctlLimits
from ..model.process import UNKNOWN_PROCESS, Owner
from ..model.snapshot import Snapshot
from ..model.sockets import TIME_WAIT
from .finding import DiagnosisInput, Finding, FindingKind, Severity, Usage, severity_of
from .formatting import (
    escape_unprintable,
    format_bytes,
    format_percent,
    group_by_name,
    join_and,
    paragraph,
    paragraphs,
    plural,
)

_MAX_USERS: Final = 3


def find_host_limits(data: DiagnosisInput) -> Iterator[Finding]:
    """Yield findings on limits of the host, and notes on overflows since boot."""
    limits, counters = data.snapshot.limits or SysctlLimits(), data.snapshot.counters or KernelCounters()
    yield from _find_time_wait_buckets(limits, counters, data)
    yield from _find_orphans(limits, counters, data)
    yield from _find_memory(limits, counters, data)
    yield from _find_overflows(counters)


def _find_time_wait_buckets(
    limits: SysctlLimits, counters: KernelCounters, data: DiagnosisInput
) -> Iterator[Finding]:
    used = counters.time_wait
    if used is None:
        used = sum(count for group, count in (data.snapshot.groups or {}).items() if group.state == TIME_WAIT)
    usage = _usage_if_known("sockets in TIME_WAIT (tcp_max_tw_buckets)", used, limits.max_time_wait_sockets)
    if usage and (severity := severity_of(usage.ratio, data.thresholds.time_wait_buckets)):
        yield Finding(
            kind=FindingKind.TIME_WAIT_BUCKETS,
            severity=severity,
            title="The host has nearly reached its limit of sockets in TIME_WAIT",
            detail=paragraph("""
                Beyond the limit the kernel closes sockets immediately. No connection fails, but a delayed
                packet of an old connection may be taken for one of a new connection.
            """),
            steps=paragraphs("""
                Keep connections open and reuse them (connection pool, HTTP keep-alive): each connection that
                ends is in TIME_WAIT for a minute, on the side that closed first.

                Raise `net.ipv4.tcp_max_tw_buckets`: each entry costs a few hundred bytes; lowering it does
                not help.
            """),
            count=used,
            usage=usage,
        )


def _find_orphans(limits: SysctlLimits, counters: KernelCounters, data: DiagnosisInput) -> Iterator[Finding]:
    name = "orphaned sockets of all namespaces (tcp_max_orphans)"
    usage = _usage_if_known(name, counters.orphans, limits.max_orphans)
    if usage and (severity := severity_of(usage.ratio, data.thresholds.orphans)):
        yield Finding(
            kind=FindingKind.ORPHANS,
            severity=severity,
            title=f"The host has {plural(usage.used, 'orphaned connection')} that cannot end",
            detail=paragraph("""
                Programs have closed them, and the peers do not acknowledge. Near the limit the kernel resets
                them: unsent data are lost, and it logs `too many orphaned sockets`.
            """),
            steps=paragraphs("""
                Look up their states in the counts: in FIN_WAIT1 and LAST_ACK the peers have vanished or a
                firewall drops packets, in FIN_WAIT2 the peers do not close.

                Raise `net.ipv4.tcp_max_orphans` if there is memory: each may take 64 KiB.

                Lower `net.ipv4.tcp_orphan_retries` so that the kernel gives up sooner.
            """),
            count=usage.used,
            usage=usage,
        )


def _find_memory(limits: SysctlLimits, counters: KernelCounters, data: DiagnosisInput) -> Iterator[Finding]:
    if counters.memory_bytes is None or limits.max_memory_bytes is None:
        return
    name = "memory of TCP buffers, of all namespaces (tcp_mem)"
    usage = Usage(name, counters.memory_bytes, limits.max_memory_bytes, is_bytes=True)
    if severity := severity_of(usage.ratio, data.thresholds.memory):
        queued: Counter[Owner] = Counter()
        for group, (receive_bytes, send_bytes) in (data.snapshot.queue_bytes or {}).items():
            queued[group.owner] += receive_bytes + send_bytes
        yield Finding(
            kind=FindingKind.MEMORY,
            severity=severity,
            title=f"The host uses {format_percent(usage.ratio)} of the memory for TCP buffers",
            detail=paragraph(f"""
                {_users_text(queued, data.snapshot)} Near the limit the kernel shrinks
                buffers, drops packets and resets connections.
            """),
            steps=paragraphs("""
                Find the process that does not read what it receives, or whose peer does not read:
                `socket_receive_queue_bytes` and `socket_send_queue_bytes` show it by process, `ss -tmp` by
                socket.

                Raise `net.ipv4.tcp_mem` (three values, in pages) if the load is legitimate and there is
                memory.
            """),
            processes=group_by_name(+queued, data.snapshot)[:_MAX_USERS],
            usage=usage,
        )


def _users_text(queued: Counter[Owner], snapshot: Snapshot) -> str:
    by_name: Counter[str] = Counter()
    for owner, size in queued.items():
        by_name[snapshot.process_name(owner)] += size
    users = [
        f"{_display_name(name)} ({format_bytes(size)})"
        for name, size in by_name.most_common(_MAX_USERS)
        if size
    ]
    return f"In this namespace the largest queues are those of {join_and(users)}." if users else ""


def _display_name(name: str) -> str:
    return "unknown processes" if name == UNKNOWN_PROCESS else escape_unprintable(name)


def _find_overflows(counters: KernelCounters) -> Iterator[Finding]:
    if counters.listen_overflows:
        yield Finding(
            kind=FindingKind.LISTEN_OVERFLOWS,
            severity=Severity.NOTE,
            title=f"The host has counted {plural(counters.listen_overflows, 'accept queue overflow')} "
            "since boot",
            detail="A single snapshot cannot tell when. Each time a client had to retransmit after a second "
            "or more.",
            steps=paragraphs("""
                Check whether the number grows, with `nstat -az TcpExtListenOverflows`, or in Prometheus with
                `rate(socket_kernel_listen_overflows_total[5m])`: if so, a program accepts too slowly.
            """),
            count=counters.listen_overflows,
        )
    if counters.time_wait_overflows:
        yield Finding(
            kind=FindingKind.TIME_WAIT_OVERFLOWS,
            severity=Severity.NOTE,
            title=f"The host has counted {plural(counters.time_wait_overflows, 'TIME_WAIT overflow')} "
            "since boot",
            detail="A single snapshot cannot tell when. The kernel closed the sockets immediately, which "
            "rarely does harm.",
            steps=paragraphs("""
                Raise `net.ipv4.tcp_max_tw_buckets` if the number grows: each entry costs a few hundred bytes.
            """),
            count=counters.time_wait_overflows,
        )


def _usage_if_known(name: str, used: int | None, limit: int | None) -> Usage | None:
    return None if used is None or limit is None else Usage(name, used, limit)
