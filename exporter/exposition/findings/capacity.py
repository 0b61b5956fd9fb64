"""What the whole host shares: TIME_WAIT buckets, orphans, memory, and what the kernel has counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Final

from ...model.host import KernelCounters, SysctlLimits
from ...model.process import Owner
from ...model.snapshot import Snapshot
from ...model.sockets import TIME_WAIT
from .finding import Finding, Kind, Scope, Severity, Usage, severity_of
from .words import clean, listed, paragraph, paragraphs, plural, size, who

_USERS_NAMED: Final = 3


def find(scope: Scope) -> Iterator[Finding]:
    """Findings on limits of the host, and notes on what was refused since boot."""
    limits, counters = scope.seen.limits or SysctlLimits(), scope.seen.counters or KernelCounters()
    yield from _buckets(limits, counters, scope)
    yield from _orphans(limits, counters, scope)
    yield from _memory(limits, counters, scope)
    yield from _refused(counters)


def _buckets(limits: SysctlLimits, counters: KernelCounters, scope: Scope) -> Iterator[Finding]:
    used = counters.time_wait
    if used is None:
        used = sum(count for group, count in (scope.seen.groups or {}).items() if group.state == TIME_WAIT)
    near = _near("sockets in TIME_WAIT (tcp_max_tw_buckets)", used, limits.max_time_wait_sockets)
    if near and (severity := severity_of(near.ratio, scope.thresholds.time_wait_buckets)):
        yield Finding(
            kind=Kind.TIME_WAIT_BUCKETS,
            severity=severity,
            title="The kernel keeps nearly as many sockets in TIME_WAIT as it may",
            detail=paragraph("""
                Beyond the limit the kernel closes sockets at once. Nothing fails by
                that, but a stray packet of an old connection may get into a new one.
            """),
            advice=paragraphs("""
                Keep connections open and use them again (connection pool, HTTP keep-alive): each connection
                that ends is in TIME_WAIT for a minute, on the side that closed first.

                Raise `net.ipv4.tcp_max_tw_buckets`: each costs a few hundred bytes. Lowering it is no cure.
            """),
            count=used,
            near=near,
        )


def _orphans(limits: SysctlLimits, counters: KernelCounters, scope: Scope) -> Iterator[Finding]:
    name = "sockets that no process holds, of all namespaces (tcp_max_orphans)"
    near = _near(name, counters.orphans, limits.max_orphans)
    if near and (severity := severity_of(near.ratio, scope.thresholds.orphans)):
        yield Finding(
            kind=Kind.ORPHANS,
            severity=severity,
            title=f"{plural(near.used, 'connection')} that programs have closed cannot end",
            detail=paragraph("""
                Their other sides do not confirm. Near the limit the kernel resets
                them, what was still to be sent is lost, and it logs `too many orphaned sockets`.
            """),
            advice=paragraphs("""
                See in the counts which state they are in. FIN_WAIT1 and LAST_ACK: the other sides have
                vanished, or a firewall drops packets. FIN_WAIT2: the other sides do not close.

                Raise `net.ipv4.tcp_max_orphans` if there is memory: each may take 64 KiB. A lower
                `net.ipv4.tcp_orphan_retries` makes the kernel give up sooner.
            """),
            count=near.used,
            near=near,
        )


def _memory(limits: SysctlLimits, counters: KernelCounters, scope: Scope) -> Iterator[Finding]:
    if counters.memory_bytes is None or limits.memory_bytes is None:
        return
    name = "memory of TCP buffers, of all namespaces (tcp_mem)"
    near = Usage(name, counters.memory_bytes, limits.memory_bytes, is_bytes=True)
    if severity := severity_of(near.ratio, scope.thresholds.memory):
        held: Counter[Owner] = Counter()
        for group, (unread, unconfirmed) in (scope.seen.queues or {}).items():
            held[group.owner] += unread + unconfirmed
        yield Finding(
            kind=Kind.MEMORY,
            severity=severity,
            title="TCP buffers take much of the memory that they may have",
            detail=paragraph(f"""
                {_who_holds(held, scope.seen)} Near the limit the kernel shrinks
                buffers, drops packets and resets connections.
            """),
            advice=paragraphs("""
                See who does not read what has come, or writes to somebody who does not read:
                `socket_receive_queue_bytes` and `socket_send_queue_bytes` tell it by process, `ss -tmp` by
                socket.

                If the load is real and there is memory, raise `net.ipv4.tcp_mem`: three figures, in pages.
            """),
            processes=who(+held, scope.seen)[:_USERS_NAMED],
            near=near,
        )


def _who_holds(held: Counter[Owner], seen: Snapshot) -> str:
    by_name: Counter[str] = Counter()
    for owner, count in held.items():
        by_name[seen.process_name(owner)] += count
    words = [f"{clean(name)} ({size(count)})" for name, count in by_name.most_common(_USERS_NAMED) if count]
    return f"In this namespace most wait in {listed(words)}." if words else ""


def _refused(counters: KernelCounters) -> Iterator[Finding]:
    if counters.listen_overflows:
        yield Finding(
            kind=Kind.LISTEN_OVERFLOWS,
            severity=Severity.NOTE,
            title=f"{plural(counters.listen_overflows, 'time')} since boot an accept queue was full",
            detail="One look cannot tell when. Each time a caller had to try again, a second later or more.",
            advice=paragraphs("""
                See whether it grows: `nstat -az TcpExtListenOverflows`, or in Prometheus
                `rate(socket_kernel_listen_overflows_total[5m])`. If so, some program accepts too slowly.
            """),
            count=counters.listen_overflows,
        )
    if counters.time_wait_overflows:
        yield Finding(
            kind=Kind.TIME_WAIT_OVERFLOWS,
            severity=Severity.NOTE,
            title=f"{plural(counters.time_wait_overflows, 'time')} since boot TIME_WAIT had no room",
            detail="One look cannot tell when. The sockets were closed at once, which hardly ever does harm.",
            advice=("If it grows, raise `net.ipv4.tcp_max_tw_buckets`: each costs a few hundred bytes.",),
            count=counters.time_wait_overflows,
        )


def _near(name: str, used: int | None, limit: int | None) -> Usage | None:
    return None if used is None or limit is None else Usage(name, used, limit)
