"""Findings on connections that wait for the peer: SYN_SENT, SYN_RECV, FIN_WAIT2."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from ..model.groups import Direction
from ..model.process import Owner
from ..model.sockets import FIN_WAIT2, SYN_RECV, SYN_SENT
from . import accept_queue_findings
from .finding import DiagnosisInput, Finding, FindingKind, Severity, Usage
from .formatting import group_by_name, paragraph, paragraphs, plural, short_name, with_pids_capitalized


class _PendingKey(NamedTuple):
    state: int
    name: str
    direction: Direction
    port: int


@dataclass(slots=True)
class _PendingConnections:
    """Connections with the same state, process name, direction and port."""

    owners: Counter[Owner] = field(default_factory=Counter)
    addresses: set[bytes] = field(default_factory=set)

    @property
    def count(self) -> int:
        return self.owners.total()


def find_waiting_for_peer(data: DiagnosisInput) -> Iterator[Finding]:
    """Yield a finding for each process and port with many connections that wait for the peer."""
    thresholds = data.thresholds
    queues = accept_queue_findings.most_utilized_queue(data.snapshot)
    for key, pending in _group_pending(data).items():
        if key.state == SYN_SENT and pending.count >= thresholds.syn_sent_many:
            yield _build_syn_sent(key, pending, data)
        elif key.state == SYN_RECV and pending.count >= thresholds.syn_recv_many:
            yield from _find_syn_recv(key, pending, queues.get((key.name, key.port)), data)
        elif key.state == FIN_WAIT2 and pending.count >= thresholds.fin_wait2_many:
            yield _build_fin_wait2(key, pending, data)


def _group_pending(data: DiagnosisInput) -> dict[_PendingKey, _PendingConnections]:
    by_key: defaultdict[_PendingKey, _PendingConnections] = defaultdict(_PendingConnections)
    for group, count in (data.snapshot.groups or {}).items():
        if group.state in (SYN_SENT, SYN_RECV, FIN_WAIT2):
            name = data.snapshot.process_name(group.owner)
            pending = by_key[_PendingKey(group.state, name, group.direction, group.port)]
            pending.owners[group.owner] += count
            if group.addresses is not None:
                pending.addresses.add(group.addresses.remote_address)
    return by_key


def _build_syn_sent(key: _PendingKey, pending: _PendingConnections, data: DiagnosisInput) -> Finding:
    processes = group_by_name(pending.owners, data.snapshot)
    to = f"to {plural(len(pending.addresses), 'address')}" if pending.addresses else ""
    verb = "is" if pending.count == 1 else "are"
    return Finding(
        kind=FindingKind.SYN_SENT,
        severity=Severity.WARNING,
        title=f"{with_pids_capitalized(processes[0])} gets no answer from port {key.port}",
        detail=paragraph(f"""
            {plural(pending.count, "connection")} {to} {verb} in SYN_SENT: the SYN is not answered. A host
            that is up answers within milliseconds, even if only to refuse.
        """),
        steps=paragraphs(f"""
            Check whether the peer is up and reachable with `nc -vz HOST {key.port}`, from this host and from
            another one.

            Look for a firewall that drops packets silently, on this host, on the peer, or between them.

            Ignore this if {short_name(processes[0])} connects to very many hosts on purpose, as a crawler
            does.
        """),
        processes=processes,
        count=pending.count,
        direction=key.direction,
        port=key.port,
    )


def _find_syn_recv(
    key: _PendingKey,
    pending: _PendingConnections,
    queue: accept_queue_findings.QueueUsage | None,
    data: DiagnosisInput,
) -> Iterator[Finding]:
    """Yield the finding, unless the SYN queue is short.

    The limit of the SYN queue is the backlog (inet_csk_reqsk_queue_is_full).
    """
    usage = Usage(f"SYN queue of port {key.port}", pending.count, queue.usage.limit) if queue else None
    if usage and usage.ratio < data.thresholds.syn_recv_share:
        return
    processes = group_by_name(pending.owners, data.snapshot)
    yield Finding(
        kind=FindingKind.SYN_RECV,
        severity=Severity.WARNING,
        title=f"{with_pids_capitalized(processes[0])} has {plural(pending.count, 'half-open connection')} "
        f"on port {key.port}",
        detail=paragraph("""
            They are in SYN_RECV: the kernel has answered the SYN, and the client has not acknowledged that.
            Either the answers are lost, or the clients do not want a connection (SYN flood).
        """),
        steps=paragraphs("""
            List the clients with `ss -tn state syn-recv`.

            Leave `net.ipv4.tcp_syncookies` at 1 if many addresses have one connection each: that is a SYN
            flood, and SYN cookies keep the service reachable.

            Check the return path (routing, firewall, load balancer) if there are few addresses: the answers
            are lost.

            Fix the accept queue of this port first if it is full: the kernel then drops ACKs as well.
        """),
        processes=processes,
        count=pending.count,
        direction=key.direction,
        port=key.port,
        usage=usage,
    )


def _build_fin_wait2(key: _PendingKey, pending: _PendingConnections, data: DiagnosisInput) -> Finding:
    processes = group_by_name(pending.owners, data.snapshot)
    is_outbound = key.direction is Direction.OUTBOUND
    where = f"to port {key.port}" if is_outbound else f"from clients of port {key.port}"
    peers, verb = ("The peer", "does") if pending.count == 1 else ("The peers", "do")
    return Finding(
        kind=FindingKind.FIN_WAIT2,
        severity=Severity.WARNING,
        title=f"{peers} of {plural(pending.count, 'connection')} {where} {verb} not close",
        detail=paragraph("""
            They are in FIN_WAIT2: this host has closed its side, and the peer has acknowledged that and keeps
            its own side open. On the peer they are in CLOSE_WAIT: the leak is there, not here.
        """),
        steps=paragraphs(f"""
            Run `socket-state-exporter explain` on the peer to find the program that does not close.

            Set a receive timeout in {short_name(processes[0])} for connections that it has only shut down for
            sending: the kernel ends those that it has closed after `net.ipv4.tcp_fin_timeout` (60 s by
            default), but not these.
        """),
        processes=processes,
        count=pending.count,
        direction=key.direction,
        port=key.port,
    )
