"""Findings on connections that wait for the peer: SYN_SENT, SYN_RECV, FIN_WAIT2."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from ..model.address import is_same_host
from ..model.groups import Direction
from ..model.process import Owner
from ..model.snapshot import Snapshot
from ..model.sockets import FIN_WAIT2, SYN_RECV, SYN_SENT
from . import accept_queue_findings, windows_steps
from .finding import DiagnosisInput, Finding, FindingKind, Severity, Usage
from .formatting import (
    group_by_name,
    join_and,
    paragraph,
    paragraphs,
    plural,
    short_name,
    with_pids,
    with_pids_capitalized,
)

_MAX_HOLDERS: Final = 3


class _PendingKey(NamedTuple):
    state: int
    name: str
    direction: Direction
    port: int


@dataclass(slots=True)
class _PendingConnections:
    """Connections with the same state, process name, direction and port."""

    owners: Counter[Owner] = field(default_factory=Counter)
    routes: set[tuple[bytes, bytes]] = field(default_factory=set)
    """Local and remote addresses of outbound connections."""

    @property
    def count(self) -> int:
        return self.owners.total()

    @property
    def is_local(self) -> bool:
        """Whether the peers are certainly on this host. Unknown for inbound connections."""
        return bool(self.routes) and all(is_same_host(*route) for route in self.routes)


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
                pending.routes.add(group.addresses[:2])
    return by_key


def _build_syn_sent(key: _PendingKey, pending: _PendingConnections, data: DiagnosisInput) -> Finding:
    processes = group_by_name(pending.owners, data.snapshot)
    addresses = {remote for _, remote in pending.routes}
    to = f"to {plural(len(addresses), 'address')}" if addresses else ""
    verb = "is" if pending.count == 1 else "are"
    if pending.is_local and data.windows:
        # With a full accept queue Windows answers by a reset.
        reason = "The destination is this host: probably a firewall rule drops the SYN."
    elif pending.is_local:
        reason = paragraph("""
            The destination is this host: either the accept queue of that port is full, so that the kernel
            drops the SYN, or a firewall rule does.
        """)
    else:
        reason = paragraph("""
            A host that is up answers within milliseconds, even if only to refuse, unless its accept queue is
            full.
        """)
    return Finding(
        kind=FindingKind.SYN_SENT,
        severity=Severity.WARNING,
        title=f"{with_pids_capitalized(processes[0])} gets no answer from port {key.port}",
        detail=paragraph(f"""
            {plural(pending.count, "connection")} {to} {verb} in SYN_SENT: the SYN is not answered. {reason}
        """),
        steps=_local_syn_steps(key.port, data)
        if pending.is_local
        else _syn_steps(key.port, short_name(processes[0]), data),
        processes=processes,
        count=pending.count,
        direction=key.direction,
        port=key.port,
    )


def _local_syn_steps(port: int, data: DiagnosisInput) -> tuple[str, ...]:
    if data.windows:
        return windows_steps.unanswered_local_syn_steps(port)
    return paragraphs(f"""
        Check whether the accept queue is full: `ss -ltnp 'sport = :{port}'` shows its length (Recv-Q), its
        backlog (Send-Q) and the program that does not accept.

        Look for a firewall rule that drops packets to this port silently.
    """)


def _syn_steps(port: int, name: str, data: DiagnosisInput) -> tuple[str, ...]:
    if data.windows:
        return windows_steps.unanswered_syn_steps(port, name)
    return paragraphs(f"""
        Check whether the peer is up and reachable with `nc -vz HOST {port}`, from this host and from another
        one.

        Look for a firewall that drops packets silently, on this host, on the peer, or between them.

        Run `ss -ltn` on the peer if it is up: the accept queue of port {port} is full if Recv-Q exceeds
        Send-Q.

        Ignore this if {name} connects to very many hosts on purpose, as a crawler does.
    """)


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
        steps=windows_steps.HALF_OPEN
        if data.windows
        else paragraphs("""
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
    holders = _local_holders(key, pending, data.snapshot)
    are_all_local = pending.is_local or holders.total() >= pending.count
    return Finding(
        kind=FindingKind.FIN_WAIT2,
        severity=Severity.WARNING,
        title=f"{peers} of {plural(pending.count, 'connection')} {where} {verb} not close",
        detail=paragraph(f"""
            They are in FIN_WAIT2: this side is closed, and the peer has acknowledged that and keeps its own
            side open. {_holders_text(holders, pending.count, data.snapshot, are_all_local=are_all_local)}
        """),
        steps=_fin_wait2_steps(
            _holder_names(holders, data.snapshot), short_name(processes[0]), data, are_all_local=are_all_local
        ),
        processes=processes,
        count=pending.count,
        direction=key.direction,
        port=key.port,
    )


def _local_holders(key: _PendingKey, pending: _PendingConnections, snapshot: Snapshot) -> Counter[Owner]:
    """Return the owners of the peer's ends that are in CLOSE_WAIT on this host."""
    holders: Counter[Owner] = Counter()
    for row in snapshot.close_wait or ():
        sock = row.close_wait.socket
        if key.direction is Direction.OUTBOUND:
            is_peer = (
                sock.local_port == key.port and (sock.remote_address, sock.local_address) in pending.routes
            )
        else:
            is_peer = sock.remote_port == key.port
        if is_peer and is_same_host(sock.local_address, sock.remote_address):
            holders[row.group.owner] += 1
    return holders


def _holder_names(holders: Counter[Owner], snapshot: Snapshot) -> str:
    names = [with_pids(process) for process in group_by_name(holders, snapshot)]
    if len(names) > _MAX_HOLDERS:
        names[_MAX_HOLDERS:] = [f"{len(names) - _MAX_HOLDERS} more"]
    return join_and(names) if names else ""


def _holders_text(holders: Counter[Owner], count: int, snapshot: Snapshot, *, are_all_local: bool) -> str:
    """Return the sentences on the peer's ends. count: number of connections in FIN_WAIT2."""
    known = min(holders.total(), count)
    if not known:
        return (
            "Both ends are on this host: the program that has the other ones open does not close them."
            if are_all_local
            else "On the peer they are in CLOSE_WAIT: the leak is there, not here."
        )
    names = _holder_names(holders, snapshot)
    has, other_end = "have" if len(holders) > 1 else "has", "other end" if known == 1 else "other ends"
    if known == count:
        return f"Both ends are on this host: {names} {has} the {other_end} open, in CLOSE_WAIT."
    of = f"{plural(known, 'connection')} {'has' if known == 1 else 'have'} both ends on this host"
    others = "" if are_all_local else "Those of the others are in CLOSE_WAIT on the peers."
    return f"{of}: {names} {has} the {other_end} open, in CLOSE_WAIT. {others}"


def _fin_wait2_steps(
    holder_names: str, name: str, data: DiagnosisInput, *, are_all_local: bool
) -> tuple[str, ...]:
    """Return the steps. holder_names: processes here that do not close. name: of the process that did."""
    here = f"Look into {holder_names}: fix the code that does not close the other ends."
    if are_all_local and not holder_names:
        find = windows_steps.FIND_LOCAL_HOLDER
        here = find if data.windows else "Find the program with `ss -tnp state close-wait`."
    there = "Run `socket-state-exporter explain` on the peer to find the program that does not close."
    if data.windows:
        timeout = windows_steps.half_closed_steps(name)
    else:
        timeout = paragraphs(f"""
            Set a receive timeout in {name} for connections that it has only shut down for sending: the kernel
            ends those that it has closed after `net.ipv4.tcp_fin_timeout` (60 s by default), but not these.
        """)
    return (
        *([here] if holder_names or are_all_local else []),
        *([] if are_all_local else [there]),
        *timeout,
    )
