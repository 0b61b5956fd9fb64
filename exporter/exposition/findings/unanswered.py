"""Connections that wait for the other side: SYN_SENT, SYN_RECV, FIN_WAIT2."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from ...model.groups import Direction
from ...model.process import Owner
from ...model.sockets import FIN_WAIT2, SYN_RECV, SYN_SENT
from . import accept_queues
from .finding import Finding, Kind, Scope, Severity, Usage
from .words import it, paragraph, paragraphs, plural, subject, who


class _Place(NamedTuple):
    state: int
    name: str
    direction: Direction
    port: int


@dataclass(slots=True)
class _Waiting:
    """The connections of one state, process, direction and port."""

    owners: Counter[Owner] = field(default_factory=Counter)
    addresses: set[bytes] = field(default_factory=set)

    @property
    def count(self) -> int:
        return self.owners.total()


def find(scope: Scope) -> Iterator[Finding]:
    """A finding for each process and port with many connections that wait for the other side."""
    limits = scope.thresholds
    queues = accept_queues.fullest(scope.seen)
    for place, waiting in _waiting(scope).items():
        if place.state == SYN_SENT and waiting.count >= limits.syn_sent_many:
            yield _syn_sent(place, waiting, scope)
        elif place.state == SYN_RECV and waiting.count >= limits.syn_recv_many:
            yield from _syn_recv(place, waiting, queues.get((place.name, place.port)), scope)
        elif place.state == FIN_WAIT2 and waiting.count >= limits.fin_wait2_many:
            yield _fin_wait2(place, waiting, scope)


def _waiting(scope: Scope) -> dict[_Place, _Waiting]:
    places: defaultdict[_Place, _Waiting] = defaultdict(_Waiting)
    for group, count in (scope.seen.groups or {}).items():
        if group.state in (SYN_SENT, SYN_RECV, FIN_WAIT2):
            name = scope.seen.process_name(group.owner)
            waiting = places[_Place(group.state, name, group.direction, group.port)]
            waiting.owners[group.owner] += count
            if group.addresses is not None:
                waiting.addresses.add(group.addresses.remote_address)
    return places


def _syn_sent(place: _Place, waiting: _Waiting, scope: Scope) -> Finding:
    processes = who(waiting.owners, scope.seen)
    return Finding(
        kind=Kind.SYN_SENT,
        severity=Severity.WARNING,
        title=f"{subject(processes[0])} gets no answer from port {place.port}",
        detail=paragraph(f"""
            {plural(waiting.count, "connection")} to {_addresses(waiting)} are in SYN_SENT: asked for, and not
            answered. A host that is up answers within milliseconds, even if only to refuse.
        """),
        advice=paragraphs(f"""
            See whether the other side is up and reachable: try `nc -vz HOST {place.port}` from here and from
            elsewhere. A firewall that drops silently, here, there or between, looks the same.

            If {it(processes[0])} calls very many hosts on purpose, as a crawler does, this is normal.
        """),
        processes=processes,
        count=waiting.count,
        direction=place.direction,
        port=place.port,
    )


def _syn_recv(
    place: _Place, waiting: _Waiting, queue: accept_queues.Queue | None, scope: Scope
) -> Iterator[Finding]:
    """The queue of half-open connections is as long as the backlog (inet_csk_reqsk_queue_is_full)."""
    name = f"half-open connections of port {place.port}"
    near = Usage(name, waiting.count, queue.near.limit) if queue else None
    if near and near.ratio < scope.thresholds.syn_recv_share:
        return
    processes = who(waiting.owners, scope.seen)
    yield Finding(
        kind=Kind.SYN_RECV,
        severity=Severity.WARNING,
        title=f"{plural(waiting.count, 'caller')} of port {place.port} did not confirm the connection "
        f"to {it(processes[0])} yet",
        detail=paragraph("""
            They are in SYN_RECV: the kernel has answered them, and they have not confirmed. Either
            the answers get lost, or the callers do not want any: a SYN flood.
        """),
        advice=paragraphs("""
            See where they come from: `ss -tn state syn-recv`. Many addresses with one connection each are a
            flood: leave `net.ipv4.tcp_syncookies` at 1, which keeps the service reachable.

            Few addresses: the answers get lost. Check the way back: routing, firewall, load balancer.

            If the accept queue of this port is full, confirmations are dropped too: mend that first.
        """),
        processes=processes,
        count=waiting.count,
        direction=place.direction,
        port=place.port,
        near=near,
    )


def _fin_wait2(place: _Place, waiting: _Waiting, scope: Scope) -> Finding:
    processes = who(waiting.owners, scope.seen)
    outbound = place.direction is Direction.OUTBOUND
    where = f"to port {place.port}" if outbound else f"from clients of port {place.port}"
    return Finding(
        kind=Kind.FIN_WAIT2,
        severity=Severity.WARNING,
        title=f"The other sides of {plural(waiting.count, 'connection')} {where} do not close",
        detail=paragraph("""
            They are in FIN_WAIT2: this side has closed, the other side knows, and keeps its end open. Over
            there they are in CLOSE_WAIT: the leak is there, not here.
        """),
        advice=paragraphs(f"""
            See over there which program does not close: `socket-state-exporter explain` tells it.

            Here the kernel ends what {it(processes[0])} has closed, after `net.ipv4.tcp_fin_timeout` (60 s
            unless changed). What it has only shut down for sending stays: give it a time limit for receiving.
        """),
        processes=processes,
        count=waiting.count,
        direction=place.direction,
        port=place.port,
    )


def _addresses(waiting: _Waiting) -> str:
    count = len(waiting.addresses)
    return "one address" if count == 1 else f"{count:,} addresses"
